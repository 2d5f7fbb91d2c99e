#include "sidecar/log.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "spdlog/logger.h"
#include "spdlog/pattern_formatter.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace roost::sidecar {
namespace {

// Messages are fixed texts and subjects are members or ports, so there are few; this bounds a
// mistake.
constexpr size_t kWindowsMax = 1'000;

absl::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
  }
  return "info";
}

// Length of the UTF-8 sequence at the start of `text`; 0 if it is not one.
size_t Utf8Length(absl::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  size_t length = 0;
  uint32_t code = 0;
  if (byte(0) < 0x80) return 1;
  if (byte(0) >= 0xC2 && byte(0) <= 0xDF) {
    length = 2, code = byte(0) & 0x1F;
  } else if (byte(0) >= 0xE0 && byte(0) <= 0xEF) {
    length = 3, code = byte(0) & 0x0F;
  } else if (byte(0) >= 0xF0 && byte(0) <= 0xF4) {
    length = 4, code = byte(0) & 0x07;
  }
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3F);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  return overlong || surrogate || code > 0x10FFFF ? 0 : length;
}

}  // namespace

std::string JsonEscape(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    const auto c = static_cast<uint8_t>(text[0]);
    if (length == 0) {
      out += "\xEF\xBF\xBD";
    } else if (c == '"' || c == '\\') {
      out += {'\\', static_cast<char>(c)};
    } else if (c < 0x20) {
      absl::StrAppendFormat(&out, "\\u%04x", c);
    } else {
      out.append(text.data(), length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

Logger::Logger(std::shared_ptr<spdlog::sinks::sink> sink, LogLevel level)
    : logger_(std::make_unique<spdlog::logger>("roost", std::move(sink))), level_(level) {
  logger_->set_formatter(
      std::make_unique<spdlog::pattern_formatter>("%v", spdlog::pattern_time_type::utc, "\n"));
  logger_->set_level(spdlog::level::trace);  // Levels are decided here, before any formatting.
  logger_->flush_on(spdlog::level::trace);
}

Logger::~Logger() = default;

std::unique_ptr<Logger> Logger::ToStandardError(LogLevel level) {
  return std::make_unique<Logger>(std::make_shared<spdlog::sinks::stderr_sink_mt>(), level);
}

void Logger::SetLevel(LogLevel level) { level_ = level; }
void Logger::Debug(absl::string_view message, Fields fields) {
  Write(LogLevel::kDebug, message, fields);
}
void Logger::Info(absl::string_view message, Fields fields) {
  Write(LogLevel::kInfo, message, fields);
}
void Logger::Warn(absl::string_view message, Fields fields) {
  Write(LogLevel::kWarn, message, fields);
}
void Logger::Error(absl::string_view message, Fields fields) {
  Write(LogLevel::kError, message, fields);
}
void Logger::Flush() { logger_->flush(); }

int64_t Logger::Admit(absl::string_view message, absl::string_view subject) {
  const auto now = std::chrono::steady_clock::now();
  absl::MutexLock lock(&mutex_);
  if (windows_.size() >= kWindowsMax) windows_.clear();
  const auto [found, is_new] = windows_.try_emplace(absl::StrCat(message, "\n", subject));
  Window& window = found->second;
  if (is_new || now - window.start >= kWindow) {
    window.start = now;
    window.count = 0;
  }
  if (++window.count > kBurst) {
    ++window.suppressed;
    return -1;
  }
  return std::exchange(window.suppressed, 0);
}

void Logger::Write(LogLevel level, absl::string_view message, Fields fields) {
  if (level < level_.load()) return;
  const auto* subject =
      fields.size() == 0 ? nullptr : absl::get_if<absl::string_view>(&fields.begin()->value);
  const int64_t suppressed = Admit(message, subject == nullptr ? "" : *subject);
  if (suppressed < 0) return;
  std::string line = absl::StrCat(
      R"({"ts":")", absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone()),
      R"(","level":")", LevelName(level), R"(","msg":")", JsonEscape(message), "\"");
  for (const LogField& field : fields) {
    absl::StrAppend(&line, ",\"", JsonEscape(field.name), "\":");
    if (const auto* text = absl::get_if<absl::string_view>(&field.value)) {
      absl::StrAppend(&line, "\"", JsonEscape(*text), "\"");
    } else {
      absl::StrAppend(&line, absl::get<int64_t>(field.value));
    }
  }
  if (suppressed > 0) absl::StrAppend(&line, ",\"suppressed\":", suppressed);
  line += "}";
  logger_->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace roost::sidecar
