// Journal is one visitor's own record of what must be in the cart, to judge every answer by.
//
// An item whose add was answered must be in the cart. One whose answer was lost may be there, once
// for each try that may have arrived. Anything else is wrong. Items carry names that no other
// visitor uses.
//
// Owner: one visitor. Thread: any one.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace roost::demo {

enum class Verdict {
  kRight,
  kWrong,  // Something in it that this visitor never put there, or more often than it was sent.
  kLost,   // Something is missing that was acknowledged.
};

class Journal {
 public:
  // A try of `item` is about to be sent.
  void OnSent(const std::string& item) { ++items_[item].tries; }
  // That try certainly did nothing (never sent, or refused).
  void OnRefused(const std::string& item);
  // That try was answered with success.
  void OnAcknowledged(const std::string& item);
  // Compares with a cart read while no add was under way. What is seen must stay from then on.
  Verdict Check(const std::vector<std::string>& cart);
  // The cart is gone or wrong, or a new one was begun: what is true now is `cart`.
  void Restart(const std::vector<std::string>& cart);

  size_t size() const { return items_.size(); }
  // Items that must be in the cart.
  size_t acknowledged() const;

 private:
  struct Entry {
    int tries = 0;         // That may have arrived.
    int acknowledged = 0;  // Of them, or seen in a cart. At most `tries`.
  };
  std::map<std::string, Entry> items_;
};

// The strings of the array "items" of the shop's JSON. Empty and false if the text is not such an
// answer.
bool ParseItems(absl::string_view json, std::vector<std::string>* items);

}  // namespace roost::demo
