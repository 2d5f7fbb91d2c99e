// Buffer is a piece of memory that bytes enter at the end and leave at the front; BufferPool lends
// the memory, all pieces of one size.
//
// A connection holds memory only while there are bytes or a request under way, so an idle one is
// small. Bytes never move while they are being parsed: only Consume and Erase move them, and
// Consume of everything moves none.
//
// Owner: a connection; the pool: ProxyLoop. Thread: the loop's.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace roost::proxy {

class BufferPool {
 public:
  // Keeps at most `keep_max` free pieces.
  BufferPool(size_t piece_bytes, size_t keep_max) : piece_bytes_(piece_bytes), keep_max_(keep_max) {
    free_.reserve(keep_max);
  }

  std::unique_ptr<char[]> Take() {
    if (free_.empty()) return std::unique_ptr<char[]>(new char[piece_bytes_]);
    std::unique_ptr<char[]> piece = std::move(free_.back());
    free_.pop_back();
    return piece;
  }
  void Return(std::unique_ptr<char[]> piece) {
    if (free_.size() < keep_max_) free_.push_back(std::move(piece));
  }

  size_t piece_bytes() const { return piece_bytes_; }

 private:
  const size_t piece_bytes_;
  const size_t keep_max_;
  std::vector<std::unique_ptr<char[]>> free_;
};

class Buffer {
 public:
  // `pool` outlives the buffer.
  explicit Buffer(BufferPool* pool) : pool_(pool) {}
  ~Buffer() { Release(); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  char* data() { return piece_.get(); }
  const char* data() const { return piece_.get(); }
  size_t size() const { return size_; }
  size_t space() const { return pool_->piece_bytes() - size_; }
  absl::string_view view() const { return {piece_.get(), size_}; }

  // Where the next bytes go; takes memory if there is none.
  char* Tail() {
    if (piece_ == nullptr) piece_ = pool_->Take();
    return piece_.get() + size_;
  }
  void Grow(size_t bytes) {
    assert(bytes <= space());
    size_ += bytes;
  }

  // Removes `bytes` from the front.
  void Consume(size_t bytes) { Erase(0, bytes); }
  // Removes [begin, end).
  void Erase(size_t begin, size_t end) {
    assert(begin <= end && end <= size_);
    if (end < size_ && begin != end) memmove(data() + begin, data() + end, size_ - end);
    size_ -= end - begin;
  }

  // Gives the memory back; what was in it is gone.
  void Release() {
    if (piece_ != nullptr) pool_->Return(std::move(piece_));
    size_ = 0;
  }

 private:
  BufferPool* const pool_;
  std::unique_ptr<char[]> piece_;
  size_t size_ = 0;
};

}  // namespace roost::proxy
