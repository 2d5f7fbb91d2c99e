// Logger writes one JSON object a line: {"ts","level","msg", fields...}.
//
// A message is a fixed text, what varies goes into fields; never a session id, key or attribute
// value. The same message about the same subject (its first field, if that is a text) is written at
// most `kBurst` times per `kWindow`; then it is counted, and the next one that is written says how
// many were left out ("suppressed").
//
// Thread-safe. Owner: main, alive until the process ends.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/variant.h"

namespace spdlog {
class logger;
namespace sinks {
class sink;
}
}  // namespace spdlog

namespace roost::sidecar {

enum class LogLevel : uint8_t { kDebug = 1, kInfo = 2, kWarn = 3, kError = 4 };

struct LogField {
  absl::string_view name;
  absl::variant<absl::string_view, int64_t> value;

  LogField(absl::string_view n, absl::string_view text) : name(n), value(text) {}
  LogField(absl::string_view n, int64_t number) : name(n), value(number) {}
};

class Logger {
 public:
  using Fields = std::initializer_list<LogField>;
  static constexpr int kBurst = 10;
  static constexpr std::chrono::seconds kWindow{10};

  Logger(std::shared_ptr<spdlog::sinks::sink> sink, LogLevel level);
  ~Logger();
  // To standard error.
  static std::unique_ptr<Logger> ToStandardError(LogLevel level);

  void SetLevel(LogLevel level);
  void Debug(absl::string_view message, Fields fields = {});
  void Info(absl::string_view message, Fields fields = {});
  void Warn(absl::string_view message, Fields fields = {});
  void Error(absl::string_view message, Fields fields = {});
  void Flush();

 private:
  struct Window {
    std::chrono::steady_clock::time_point start;
    int count = 0;
    int64_t suppressed = 0;
  };

  void Write(LogLevel level, absl::string_view message, Fields fields);
  // How many such lines were left out before this one; -1: leave this one out too.
  int64_t Admit(absl::string_view message, absl::string_view subject);

  std::unique_ptr<spdlog::logger> logger_;
  std::atomic<LogLevel> level_;
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Window> windows_ ABSL_GUARDED_BY(mutex_);
};

// `text` as the inside of a JSON string; bytes that are not UTF-8 become U+FFFD.
std::string JsonEscape(absl::string_view text);

}  // namespace roost::sidecar
