// A request head that is accepted must arrive whole however it is cut, and its forwarded form must
// be accepted by the same scanner and mean the same.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>

#include "proxy/core/head_scanner.h"
#include "proxy/core/header_rules.h"

namespace roost::proxy {
namespace {

void CheckForwarded(const RequestHead& head) {
  const RequestHop hop{.client_ip = "192.0.2.1", .default_host = "app"};
  std::string out;
  AppendRequestHead(head, hop, &out);
  RequestHead again;
  RequestScanner scanner{
      {.head_bytes_max = 128 << 10, .target_bytes_max = 64 << 10, .headers_max = 200}};
  const std::string and_more = out + "X";
  assert(scanner.Scan(and_more, &again) == ScanStatus::kComplete);
  assert(again.size == out.size());
  assert(again.method == head.method);
  assert(again.body == head.body && again.content_length == head.content_length);
  assert(again.host == (head.host.empty() ? "app" : head.host));
  assert(again.wants_upgrade == head.wants_upgrade);
  assert(again.keep_alive && !again.present.Has(FieldId::kRoost));
  assert(again.present.Has(FieldId::kCookie) == head.present.Has(FieldId::kCookie));
}

void CheckRequest(absl::string_view in) {
  RequestHead head;
  RequestScanner scanner{ScanLimits{}};
  const ScanStatus status = scanner.Scan(in, &head);
  if (status == ScanStatus::kComplete) CheckForwarded(head);
  if (in.size() > 2'048) return;
  RequestScanner slow{ScanLimits{}};
  RequestHead slow_head;
  ScanStatus slow_status = ScanStatus::kIncomplete;
  for (size_t n = 1; n <= in.size() && slow_status == ScanStatus::kIncomplete; ++n) {
    slow_status = slow.Scan(in.substr(0, n), &slow_head);
  }
  // An error may be noticed later, but never turns into acceptance, nor the other way round.
  assert((slow_status == ScanStatus::kComplete) == (status == ScanStatus::kComplete));
  if (status == ScanStatus::kComplete) assert(slow_head.size == head.size);
}

void CheckResponse(absl::string_view in) {
  ResponseHead head;
  ResponseScanner scanner{ScanLimits{}};
  const ResponseContext context{Method::kGet, "websocket"};
  if (scanner.Scan(in, context, &head) != ScanStatus::kComplete) return;
  std::string out;
  const ResponseFraming framing = AppendResponseHead(head, {}, &out);
  ResponseHead again;
  ResponseScanner second{{.head_bytes_max = 128 << 10, .headers_max = 200}};
  assert(second.Scan(out, context, &again) == ScanStatus::kComplete);
  assert(again.size == out.size() && again.status == head.status);
  assert(again.body == framing.body && again.is_upgrade == head.is_upgrade);
}

}  // namespace
}  // namespace roost::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view in(reinterpret_cast<const char*>(data), size);
  roost::proxy::CheckRequest(in);
  roost::proxy::CheckResponse(in);
  return 0;
}
