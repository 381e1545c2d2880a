#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that the invariants can fail: breaks the product in one place at a time, in a copy, and plays the corpus.

    ./x build release intercept_script_replay && tests/fuzz/intercept_script/mutants.py [NAME...]
    ./x build clang intercept_script && tests/fuzz/intercept_script/mutants.py --fuzz SECONDS [NAME...]

Without --fuzz the corpus is replayed; with it libFuzzer starts from nothing. Exit code 1 when a mutant lives. Nothing
in the tree is changed: the mutated source is compiled into build/fuzz/mutants and linked before the libraries.
"""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
CORPUS = ROOT / "tests/fuzz/intercept_script/corpus"


class Mutant(NamedTuple):
    """One place of the product, and what stands there instead. `text` must be there once."""

    name: str
    source: str
    text: str
    instead: str


MUTANTS = [
    Mutant("rename-skipped", "vbond/rename/renamer.cc", "  command.dest = wire;\n", ""),
    Mutant("rules-not-asked", "vbond/rename/renamer_policy.cc",
           "    case Admission::Result::kForbidden:\n      return refuse(",
           "    case Admission::Result::kForbidden:\n      break;\n      return refuse("),
    Mutant("region-not-released", "vbond/admission/inventory.cc",
           "    tenancy_->release(amounts(kind, at->second));\n    known(kind).erase(at);\n    return;\n",
           "    known(kind).erase(at);\n    return;\n"),
    Mutant("physical-gid-in-query", "vbond/intercept/executor.cc",
           "    renamer_.after_query_qp(context_.info, handle_, *answer);\n", ""),
    Mutant("answered-twice", "vbond/intercept/dispatcher.cc",
           "      err = attachment.port().answer(call.id, answer.value, answer.err);\n",
           "      err = attachment.port().answer(call.id, answer.value, answer.err);\n"
           "      (void)attachment.port().answer(call.id, answer.value, answer.err);\n"),
    Mutant("not-answered-when-memory-fails", "vbond/intercept/executor.cc",
           "      return err == ESRCH ? Answer::gone() : Answer::fails(err);\n    }\n    if (!trap_.alive())",
           "      return Answer::gone();\n    }\n    if (!trap_.alive())"),
    Mutant("admission-of-failed-command-kept", "vbond/rename/renamer.cc",
           "  if (err != 0) {\n    parts_.tracker.release(plan.admission);\n", "  if (err != 0) {\n"),
    Mutant("peer-of-another-vpc", "vbond/rename/renamer.cc",
           "parts_.peers.find(endpoint->vni, want.dgid,",
           "parts_.peers.find(Vni{300 - endpoint->vni.value}, want.dgid,"),
    Mutant("access-not-narrowed", "vbond/rename/renamer_policy.cc",
           "  command.access_flags = permitted;\n", ""),
    Mutant("cut-not-carried-out", "vbond/rename/renamer_policy.cc",
           "    err = hands.modify_qp(command);\n    if (err != 0) why", "    if (err != 0) why"),
    Mutant("hidden-address-passed-on", "vbond/rename/renamer.cc",
           "  uverbs::QpDest wire;\n", "  uverbs::QpDest wire = command.dest;\n"),
    Mutant("qp-not-undone", "vbond/intercept/executor.cc",
           "    if (made_ || verb_.handler == Handler::kCreateAh) undo_create();\n", ""),
    Mutant("neutral-verb-let-run", "vbond/uverbs/verb_table.cc",
           "    write(\"ALLOC_PD\", WriteCommand::kAllocPd, kNeutral, kAgent,",
           "    write(\"ALLOC_PD\", WriteCommand::kAllocPd, kNeutral, kTenant,"),
    Mutant("advice-waits", "vbond/intercept/executor.cc",
           "        uverbs::clear_advice_to_wait(builder_);\n", ""),
    Mutant("raw-packets-offered", "vbond/rename/renamer.cc",
           "  if (type == uverbs::QpType::kRc || type == uverbs::QpType::kUc",
           "  if (type == uverbs::QpType::kRawPacket || type == uverbs::QpType::kRc || type == uverbs::QpType::kUc"),
]


def commands(preset):
    """How the preset compiles each source, and how it links the target."""
    build = ROOT / "build" / preset
    target = "tests/intercept_script_replay" if preset == "release" else "bin/fuzz/intercept_script"
    lines = subprocess.run(["ninja", "-C", build, "-t", "commands", target], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.splitlines()
    compiled = {each["file"]: each["command"] for each in json.loads((build / "compile_commands.json").read_text())}
    return build, target, compiled, lines[-1]


def build_mutant(mutant, preset):
    """The program with the mutant in it."""
    build, target, compiled, link = commands(preset)
    source = ROOT / mutant.source
    text = source.read_text()
    if text.count(mutant.text) != 1:
        sys.exit(f"{mutant.name}: its text is {text.count(mutant.text)} times in {mutant.source}")
    folder = ROOT / "build/fuzz/mutants"
    folder.mkdir(parents=True, exist_ok=True)
    copy, made, program = (folder / f"{mutant.name}{end}" for end in (".cc", ".o", ""))
    copy.write_text(text.replace(mutant.text, mutant.instead))
    words = shlex.split(compiled[str(source)])
    words[words.index("-o") + 1] = str(made)
    words[words.index("-c") + 1] = str(copy)
    subprocess.run(words, cwd=build, check=True)
    # Before the first object: what it defines is not looked for in the libraries then.
    first = next(word for word in shlex.split(link) if word.endswith(".o"))
    line = link.replace(first, f"{made} {first}", 1).replace(f"-o {target}", f"-o {program}", 1)
    subprocess.run(line, cwd=build, shell=True, check=True)
    return program


def main():
    """Every mutant, or those named."""
    words = sys.argv[1:]
    seconds = None
    if words[:1] == ["--fuzz"]:
        seconds, words = int(words[1]), words[2:]
    lived = []
    for mutant in MUTANTS:
        if words and mutant.name not in words:
            continue
        program = build_mutant(mutant, "release" if seconds is None else "clang")
        argv = [program, CORPUS] if seconds is None else [
            program, f"-max_total_time={seconds}", "-seed=1", "-detect_leaks=0", "-verbosity=0",
            f"-artifact_prefix={program}-"]
        begun = time.monotonic()
        result = subprocess.run(argv, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                check=False)
        took = time.monotonic() - begun
        found = [line for line in result.stdout.splitlines() if line.startswith(("violated: ", "while replaying "))]
        print(f"{mutant.name}: {'LIVES' if result.returncode == 0 else 'found'} after {took:.1f} s: "
              f"{'; '.join(found)}", flush=True)
        if result.returncode == 0:
            lived.append(mutant.name)
    sys.exit(1 if lived else 0)


if __name__ == "__main__":
    main()
