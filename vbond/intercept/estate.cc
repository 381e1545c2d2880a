// SPDX-License-Identifier: Apache-2.0
#include "vbond/intercept/estate.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace qmasq::vbond {
namespace {

// Goes through what is held, once for each kind of thing.
class Sorter {
 public:
  Sorter(Estate& estate, std::vector<Keeper::Held> held) : estate_(estate) {
    for (Keeper::Held& each : held) {
      if (auto tag = decode_tag(each.tag)) {
        things_.push_back({each.id, std::move(*tag), std::move(each.descriptor)});
      } else {
        give_up(each.id, "has a tag that this version of the agent cannot read");
      }
    }
  }

  Status find_ledger() {
    for (Thing& thing : things_) {
      if (!std::holds_alternative<LedgerTag>(thing.tag)) continue;
      if (estate_.ledger == nullptr) {
        auto ledger = Ledger::adopt(std::move(thing.descriptor));
        if (ledger) {
          estate_.ledger = std::move(*ledger);
          if (!estate_.ledger->renewed()) {
            (void)estate_.custody->adopt(thing.id, thing.tag, estate_.ledger->descriptor());
            continue;
          }
          // The new one first: calls must not be without one if the agent dies here.
          (void)estate_.custody->put(LedgerTag{}, estate_.ledger->descriptor());
          give_up(thing.id, "is a ledger of another version: calls on their way were carried over");
          continue;
        }
      }
      give_up(thing.id, "is no ledger that can be used");
    }
    if (estate_.ledger != nullptr) return {};
    QMASQ_ASSIGN(estate_.ledger, Ledger::create());
    (void)estate_.custody->put(LedgerTag{}, estate_.ledger->descriptor());
    return {};
  }

  void find_journal() {
    for (Thing& thing : things_) {
      if (!std::holds_alternative<JournalTag>(thing.tag)) continue;
      if (estate_.journal.valid()) {
        give_up(thing.id, "is a second journal");
        continue;
      }
      estate_.journal = std::move(thing.descriptor);
      estate_.journal_custody = estate_.custody->adopt(thing.id, thing.tag, estate_.journal.get());
    }
  }

  void find_listeners(
      const std::function<Result<std::unique_ptr<NotificationPort>>(UniqueFd)>& open_port) {
    for (Thing& thing : things_) {
      const auto* tag = std::get_if<ListenerTag>(&thing.tag);
      if (tag == nullptr) continue;
      // A second time, from an agent that died while it gave a new keeper everything again.
      if (!listeners_.insert(tag->number).second) {
        estate_.custody->drop(thing.id);
        continue;
      }
      auto port = open_port(std::move(thing.descriptor));
      if (!port) {
        listeners_.erase(tag->number);
        give_up(thing.id, fmt::format("is no listener of {} (pid {}): {}", tag->endpoint_name,
                                      tag->pid, port.error().message));
        continue;
      }
      estate_.ledger->given(0, tag->number);
      auto custody = estate_.custody->adopt(thing.id, thing.tag, (*port)->descriptor());
      Inherited::Listener listener;
      listener.tag = *tag;
      listener.custody = std::move(custody);
      listener.port = std::move(*port);
      estate_.inherited.listeners.push_back(std::move(listener));
    }
  }

  void find_sealed() {
    for (Thing& thing : things_) {
      const auto* tag = std::get_if<SealedTag>(&thing.tag);
      if (tag == nullptr) continue;
      auto& listeners = estate_.inherited.listeners;
      const auto of = std::find_if(listeners.begin(), listeners.end(), [&](const auto& each) {
        return each.tag.number == tag->listener;
      });
      const bool known = of != listeners.end();
      // Of a program that is gone, or twice.
      if (!known || (tag->writable ? of->sealed_writable : of->sealed_readable).valid()) {
        estate_.custody->drop(thing.id);
        continue;
      }
      auto custody = estate_.custody->adopt(thing.id, thing.tag, thing.descriptor.get());
      (tag->writable ? of->sealed_writable : of->sealed_readable) = std::move(thing.descriptor);
      (tag->writable ? of->writable_custody : of->readable_custody) = std::move(custody);
    }
  }

  void find_files(VerbsDevices& devices) {
    std::set<std::uint64_t> seen;
    for (Thing& thing : things_) {
      const auto* tag = std::get_if<ContextTag>(&thing.tag);
      if (tag == nullptr) continue;
      estate_.ledger->given(tag->id, 0);
      // Of a program that is gone, or twice.
      if (!listeners_.contains(tag->listener) || !seen.insert(tag->id).second) {
        estate_.custody->drop(thing.id);
        continue;
      }
      auto file = devices.adopt(std::move(thing.descriptor));
      if (!file) {
        give_up(thing.id,
                fmt::format("is no verbs device of {}: errno {}", tag->nic, file.error()));
        continue;
      }
      auto custody = estate_.custody->adopt(thing.id, thing.tag, (*file)->descriptor());
      estate_.inherited.files.push_back({*tag, std::move(custody), std::move(*file)});
    }
  }

 private:
  struct Thing {
    Keeper::Id id = 0;
    Tag tag;
    UniqueFd descriptor;
  };

  void give_up(Keeper::Id id, const std::string& why) {
    estate_.complaints.push_back(fmt::format("what the keeper holds as {} {}", id, why));
    estate_.custody->drop(id);
  }

  Estate& estate_;
  std::vector<Thing> things_;
  std::set<std::uint64_t> listeners_;
};

}  // namespace

Result<Estate> take_over(
    std::unique_ptr<Keeper> keeper, Custody::Options options, VerbsDevices& devices,
    const std::function<Result<std::unique_ptr<NotificationPort>>(UniqueFd)>& open_port) {
  QMASQ_ASSIGN(auto held, keeper->list());
  Estate out;
  out.custody = std::make_unique<Custody>(std::move(keeper), std::move(options));
  Sorter sorter(out, std::move(held));
  QMASQ_TRY(sorter.find_ledger());
  sorter.find_journal();
  sorter.find_listeners(open_port);
  sorter.find_sealed();
  sorter.find_files(devices);
  return out;
}

}  // namespace qmasq::vbond
