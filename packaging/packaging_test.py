# SPDX-License-Identifier: Apache-2.0
"""Units and configuration as systemd and the programs themselves see them. Argument: the programs' folder."""

import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAMS = Path(sys.argv.pop(1))
UNITS = sorted((HERE / "systemd").glob("*.service"))
# `systemd-analyze security`, 0 (nothing can be done from there) to 10. The agent works on the whole host: see its unit.
MOST_EXPOSURE = {"qmasq-keeper": 1.5, "qmasq-controller": 1.5, "qmasq-vbond": 6.1}


def run(*words):
    """A program to its end: exit code and all that it said."""
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60, check=False)
    return done.returncode, done.stdout


class Units(unittest.TestCase):
    """The service files."""

    def setUp(self):
        # A root of its own: the programs are where the packages put them, and nothing else is there.
        self.root = Path(tempfile.mkdtemp(prefix="qmasq-test-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.folder = self.root / "lib/systemd/system"
        self.folder.mkdir(parents=True)
        for name in ("usr/bin/qmasq-keeper", "usr/bin/qmasq-vbond", "usr/bin/qmasq-controller", "bin/sh"):
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("#!\n")
            path.chmod(0o755)

    def verify(self, text, name):
        """What systemd says of a unit."""
        (self.folder / name).write_text(text)
        return run("systemd-analyze", "verify", f"--root={self.root}", "--recursive-errors=no", self.folder / name)

    def test_systemd_understands_them(self):
        self.assertEqual(len(UNITS), 3)
        for unit in UNITS:
            self.assertEqual(self.verify(unit.read_text(), unit.name), (0, ""), unit.name)

    def test_what_it_does_not_understand_would_show(self):
        text = UNITS[0].read_text()
        self.assertIn("Unknown key", self.verify(text.replace("NoNewPrivileges", "NoNewPrivilege"), "a.service")[1])
        self.assertNotEqual(self.verify(text.replace("/usr/bin/", "/usr/sbin/"), "b.service"), (0, ""))

    def test_exposure(self):
        for unit in UNITS:
            code, said = run("systemd-analyze", "security", "--offline=true", "--no-pager",
                             f"--threshold={int(MOST_EXPOSURE[unit.stem] * 10)}", unit)
            found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
            self.assertTrue(found, said)
            self.assertLessEqual(float(found.group(1)), MOST_EXPOSURE[unit.stem], said)
            self.assertEqual(code, 0, said)

    def test_each_capability_of_the_agent_has_its_reason(self):
        text = (HERE / "systemd/qmasq-vbond.service").read_text()
        bounding = re.search(r"^CapabilityBoundingSet=(.+)$", text, re.MULTILINE).group(1).split()
        explained = re.findall(r"CAP_[A-Z_]+", "".join(re.findall(r"^#   .*$", text, re.MULTILINE)))
        self.assertEqual(sorted(bounding), sorted(set(explained) - {"CAP_NET_RAW"}))
        self.assertNotIn("CAP_NET_RAW", bounding)

    def test_the_agent_has_no_mount_namespace_of_its_own(self):
        # Namespaces of endpoints that it makes would be there for nobody else.
        text = (HERE / "systemd/qmasq-vbond.service").read_text()
        self.assertNotRegex(text, r"(?m)^(Protect(System|Home|Kernel\w+|ControlGroups|Proc)|Private\w+|\w+Paths)=")

    def test_nothing_but_its_removal_stops_the_keeper(self):
        text = (HERE / "systemd/qmasq-keeper.service").read_text()
        self.assertNotRegex(text, r"(?m)^(PartOf|BindsTo|Requires|Requisite|StopPropagatedFrom|StopWhenUnneeded)=")
        agent = (HERE / "systemd/qmasq-vbond.service").read_text()
        self.assertNotRegex(agent, r"(?m)^(Requires|BindsTo|PropagatesStopTo)=")
        for script in sorted((HERE / "deb").glob("*/*")):
            for line in script.read_text().splitlines():
                if "keeper.service" in line:
                    self.assertEqual((script.parent.name, script.name), ("vbond", "prerm"), line)

    def test_the_store_has_room_for_all_that_is_held(self):
        text = (HERE / "systemd/qmasq-keeper.service").read_text()
        most = int(re.search(r"default: (\d+)\)", run(PROGRAMS / "qmasq-keeper", "--help")[1]).group(1))
        self.assertGreater(int(re.search(r"FileDescriptorStoreMax=(\d+)", text).group(1)), most)
        self.assertGreater(int(re.search(r"LimitNOFILE=(\d+)", text).group(1)), 2 * most)


class Configuration(unittest.TestCase):
    """/etc/qmasq and the scripts."""

    def test_options_exist(self):
        for name in ("controller", "keeper", "vbond"):
            program = f"qmasq-{name}"
            code, known = run(PROGRAMS / program, "--help")
            self.assertEqual(code, 0, known)
            texts = [HERE / f"conf/{name}.conf", HERE / f"systemd/{program}.service"]
            for text in texts:
                lines = [line for line in text.read_text().splitlines()
                         if " init " not in line and not line.startswith("#                ") and "runuser" not in line
                         and "ExecCondition" not in line]
                for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", "\n".join(lines)):
                    self.assertRegex(known, re.escape(option) + r"\b", f"{text.name} speaks of {option}")

    def test_nothing_is_set_as_shipped(self):
        for path in sorted((HERE / "conf").glob("*.conf")):
            for line in path.read_text().splitlines():
                self.assertTrue(line.startswith("#"), f"{path.name}: {line}")

    def test_every_file_in_etc_is_a_conffile(self):
        listed = [line for path in sorted((HERE / "deb").glob("*/conffiles")) for line in path.read_text().splitlines()]
        self.assertEqual(sorted(listed), sorted(f"/etc/qmasq/{path.name}" for path in (HERE / "conf").iterdir()))

    def test_scripts(self):
        for path in sorted((HERE / "deb").glob("*/p*")):
            self.assertEqual(run("sh", "-n", path), (0, ""))
            self.assertTrue(path.stat().st_mode & 0o111, path)

    def test_accounts(self):
        root = Path(tempfile.mkdtemp(prefix="qmasq-test-"))
        self.addCleanup(shutil.rmtree, root)
        (root / "etc").mkdir()
        files = sorted((HERE / "systemd").glob("*.sysusers"))
        self.assertEqual(run("systemd-sysusers", f"--root={root}", *files)[0], 0)
        self.assertIn("\nqmasq-controller:", "\n" + (root / "etc/passwd").read_text())
        self.assertIn("\nqmasq:", "\n" + (root / "etc/group").read_text())


if __name__ == "__main__":
    unittest.main(verbosity=2)
