// Nanoseconds per head, and per SOAP envelope: scanning a browser's request of some 600 bytes,
// finding its session in each affinity format, and writing it anew.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "proxy/core/affinity.h"
#include "proxy/core/head_scanner.h"
#include "proxy/core/header_rules.h"

namespace roost::proxy {
namespace {

constexpr absl::string_view kHead =
    "GET /shop/cart?item=4711&page=2 HTTP/1.1\r\n"
    "Host: shop.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Referer: https://shop.example.com/shop/items?page=2\r\n"
    "Connection: keep-alive\r\n"
    "Cookie: theme=dark; JSESSIONID=4C1B2A7D9E0F34567890ABCDEF123456; lang=en\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Cache-Control: max-age=0\r\n"
    "\r\n";

constexpr int kRuns = 500'000;

// An envelope of 4 kB, with the id at its Header's end behind other fields, and a body.
std::string Envelope() {
  std::string text =
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope "
      "xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" "
      "xmlns:wsa=\"http://www.w3.org/2005/08/addressing\"><soapenv:Header>"
      "<wsa:To>http://shop.example.com/services/Cart</wsa:To><wsa:Action>urn:add</wsa:Action>"
      "<wsa:MessageID>urn:uuid:9438f780-d90f-45a5-b87f-cf2367ac2ca0</wsa:MessageID>"
      "<axis2:ServiceGroupId xmlns:axis2=\"http://ws.apache.org/namespaces/axis2\">"
      "urn:uuid:17e08741-f0ac-48ee-9824-987d349eabe5</axis2:ServiceGroupId></soapenv:Header>"
      "<soapenv:Body>";
  while (text.size() < 4'000) text += "<item><name>kettle</name><price>19.90</price></item>";
  return text + "</soapenv:Body></soapenv:Envelope>";
}

template <typename Work>
void Measure(const char* name, Work work) {
  double best_ns = 1e9;
  for (int round = 0; round < 5; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kRuns; ++i) work();
    const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - begin;
    best_ns = std::min(best_ns, spent.count() / kRuns);
  }
  std::printf("%-30s %7.1f ns\n", name, best_ns);
}

std::vector<std::pair<const char*, Options>> Formats() {
  std::vector<std::pair<const char*, Options>> formats(6);
  formats[0].first = "find id: none";
  formats[1].first = "find id: id_route";
  formats[1].second.affinity.format = AffinityFormat::kIdRoute;
  formats[2].first = "find id: ranked";
  formats[2].second.affinity.format = AffinityFormat::kRanked;
  formats[3].first = "find id: route_cookie";
  formats[3].second.affinity.format = AffinityFormat::kRouteCookie;
  formats[4].first = "find id: cookie, path, query";
  formats[4].second.affinity.places = {IdPlace::kCookie, IdPlace::kPath, IdPlace::kQuery};
  formats[4].second.affinity.query_parameter = "sid";
  formats[5].first = "find id: cookie, header";
  formats[5].second.affinity.places = {IdPlace::kCookie, IdPlace::kHeader};
  formats[5].second.affinity.header = "Mcp-Session-Id";
  return formats;
}

int Main() {
  RequestHead head;
  RequestScanner scanner{ScanLimits{}};
  bool complete = true;
  Measure("scan", [&] { complete &= scanner.Scan(kHead, &head) == ScanStatus::kComplete; });
  size_t ids = 0;
  RequestAffinity found;
  for (const auto& [name, options] : Formats()) {
    const Affinity affinity(options);
    Measure(name, [&] {
      affinity.Read(head, &found);
      ids += found.count();
    });
  }
  const std::string envelope = Envelope();
  BodyIdScan scan;
  Measure("find id: SOAP, 4 kB", [&] {
    scan.Start(BodyIdScan::Kind::kSoap, BodyKind::kLength, envelope.size(), 0, 8'192);
    complete &= scan.Run(envelope) == BodyIdScan::Result::kFound;
  });
  std::string out;
  RequestHop hop;
  hop.client_ip = "192.0.2.1";
  Measure("forward", [&] {
    out.clear();
    AppendRequestHead(head, hop, &out);
  });
  return complete && ids > 0 && !out.empty() ? 0 : 1;
}

}  // namespace
}  // namespace roost::proxy

int main() { return roost::proxy::Main(); }
