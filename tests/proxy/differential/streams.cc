#include "tests/proxy/differential/streams.h"

#include <random>

#include "absl/strings/str_cat.h"

namespace roost::proxy {
namespace {

// What follows a request on the connection; a smuggled one would show here.
const char kNext[] = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
const char kNextResponse[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext";
const char kChunks[] = "5\r\nhello\r\n0\r\n\r\n";

struct Piece {
  const char* name;
  std::string text;
};

// Field lines, without their CRLF.
std::vector<Piece> Lines() {
  return {
      {"cl", "Content-Length: 5"},
      {"cl zero", "Content-Length: 0"},
      {"cl plus", "Content-Length: +5"},
      {"cl minus", "Content-Length: -5"},
      {"cl hexadecimal", "Content-Length: 0x5"},
      {"cl list", "Content-Length: 5, 5"},
      {"cl leading zeros", "Content-Length: 0005"},
      {"cl empty", "Content-Length:"},
      {"cl words", "Content-Length: five"},
      {"cl inner space", "Content-Length: 1 5"},
      {"cl huge", "Content-Length: 99999999999999999999"},
      {"cl above 2^63", "Content-Length: 9223372036854775808"},
      {"cl fraction", "Content-Length: 5.0"},
      {"cl underscore", "Content_Length: 5"},
      {"cl space before colon", "Content-Length : 5"},
      {"cl tab before colon", "Content-Length\t: 5"},
      {"cl no-break space",
       "\xa0"
       "Content-Length: 5"},
      {"cl trailing tab", "Content-Length: 5\t"},
      {"cl control", "Content-Length: 5\x01"},
      {"cl NUL", std::string("Content-Length: 5\0", 18)},
      {"te", "Transfer-Encoding: chunked"},
      {"te case", "tRANSFER-eNCODING: ChUnKeD"},
      {"te no space", "Transfer-Encoding:chunked"},
      {"te vertical tab",
       "Transfer-Encoding:\x0b"
       "chunked"},
      {"te quoted", "Transfer-Encoding: \"chunked\""},
      {"te prefix", "Transfer-Encoding: xchunked"},
      {"te suffix", "Transfer-Encoding: chunkedx"},
      {"te identity", "Transfer-Encoding: identity"},
      {"te gzip", "Transfer-Encoding: gzip"},
      {"te gzip then chunked", "Transfer-Encoding: gzip, chunked"},
      {"te chunked then gzip", "Transfer-Encoding: chunked, gzip"},
      {"te chunked then identity", "Transfer-Encoding: chunked, identity"},
      {"te twice", "Transfer-Encoding: chunked, chunked"},
      {"te parameter", "Transfer-Encoding: chunked;q=1"},
      {"te empty", "Transfer-Encoding:"},
      {"te leading comma", "Transfer-Encoding: ,chunked"},
      {"te trailing comma", "Transfer-Encoding: chunked,"},
      {"te space before colon", "Transfer-Encoding : chunked"},
      {"te underscore", "Transfer_Encoding: chunked"},
      {"te spaces inside name", "Transfer- Encoding: chunked"},
      {"te control in name", "\x01Transfer-Encoding: chunked"},
      {"te long s",
       "Tran\xc5\xbf"
       "fer-Encoding: chunked"},
      {"te folded", "Transfer-Encoding:\r\n chunked"},
      {"te behind bare CR", "X: y\rTransfer-Encoding: chunked"},
      {"te behind bare LF", "X: y\nTransfer-Encoding: chunked"},
      {"te behind empty value and bare LF", "X:\nTransfer-Encoding: chunked"},
      {"te behind CR CRLF", "X: y\r\r\nTransfer-Encoding: chunked"},
      {"te behind NUL", std::string("X: y\0Transfer-Encoding: chunked", 31)},
      {"folded", "X: a\r\n b"},
      {"folded by tab", "X: a\r\n\tb"},
      {"no colon", "X-Nothing"},
      {"empty name", ": value"},
      {"name of spaces", "  : value"},
      {"name with at", "X@Y: value"},
      {"name with bracket", "X[Y]: value"},
      {"name beyond ASCII", "X\xe9: value"},
      {"value beyond ASCII", "X: caf\xc3\xa9"},
      {"value of DEL",
       "X: a\x7f"
       "b"},
      {"value of escape",
       "X: a\x1b"
       "b"},
      {"value empty", "X:"},
      {"value of spaces", "X:   \t "},
      {"value with colon", "X: a:b: c"},
      {"leading space", " X: y"},
      {"host twice", "Host: b"},
      {"connection close", "Connection: close"},
      {"connection keep-alive", "Connection: keep-alive"},
      {"connection list", "Connection: keep-alive, X-Secret"},
      {"connection close and more", "Connection: X, close"},
      {"connection names cl", "Connection: Content-Length"},
      {"connection empty elements", "Connection: ,,close"},
      {"proxy-connection", "Proxy-Connection: close"},
      {"expect", "Expect: 100-continue"},
      {"upgrade", "Connection: Upgrade\r\nUpgrade: websocket"},
      {"upgrade not offered", "Upgrade: websocket"},
      {"upgrade h2c",
       "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"},
      {"trailer announced", "Trailer: X"},
  };
}

std::vector<Piece> RequestLines() {
  return {
      {"plain", "POST /a HTTP/1.1"},
      {"get", "GET /a HTTP/1.1"},
      {"1.0", "POST /a HTTP/1.0"},
      {"0.9", "GET /a"},
      {"0.9 by number", "GET /a HTTP/0.9"},
      {"2.0", "GET /a HTTP/2.0"},
      {"1.2", "GET /a HTTP/1.2"},
      {"1.10", "GET /a HTTP/1.10"},
      {"version case", "GET /a http/1.1"},
      {"version comma", "GET /a HTTP/1,1"},
      {"version other", "GET /a ICE/1.0"},
      {"version without dot", "GET /a HTTP/11"},
      {"two spaces", "GET  /a HTTP/1.1"},
      {"tab", "GET\t/a HTTP/1.1"},
      {"two spaces before version", "GET /a  HTTP/1.1"},
      {"space behind", "GET /a HTTP/1.1 "},
      {"space in target", "GET /a b HTTP/1.1"},
      {"no target", "GET HTTP/1.1"},
      {"leading space", " GET /a HTTP/1.1"},
      {"leading empty line", "\r\nGET /a HTTP/1.1"},
      {"two leading empty lines", "\r\n\r\nGET /a HTTP/1.1"},
      {"leading bare LF", "\nGET /a HTTP/1.1"},
      {"method lower case", "get /a HTTP/1.1"},
      {"method unknown", "FROB /a HTTP/1.1"},
      {"method of a calendar", "MKCALENDAR /a HTTP/1.1"},
      {"method with bang", "G!T /a HTTP/1.1"},
      {"method with bracket", "G[T /a HTTP/1.1"},
      {"method long", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJ /a HTTP/1.1"},
      {"target absolute", "GET http://b/a HTTP/1.1"},
      {"target absolute with user", "GET http://u@b/a HTTP/1.1"},
      {"target other scheme", "GET ftp://b/a HTTP/1.1"},
      {"target star", "OPTIONS * HTTP/1.1"},
      {"target star for get", "GET * HTTP/1.1"},
      {"target without slash", "GET a HTTP/1.1"},
      {"target question", "GET ?a HTTP/1.1"},
      {"target fragment", "GET /a#b HTTP/1.1"},
      {"target beyond ASCII", "GET /caf\xc3\xa9 HTTP/1.1"},
      {"target quotes", "GET /\"<>\\^`{|} HTTP/1.1"},
      {"target DEL", "GET /a\x7f HTTP/1.1"},
      {"target NUL", std::string("GET /a\0b HTTP/1.1", 17)},
      {"target double slash", "GET //b/a HTTP/1.1"},
      {"connect", "CONNECT b:443 HTTP/1.1"},
      {"pri", "PRI * HTTP/2.0"},
      {"source", "SOURCE /a ICE/1.0"},
      {"rtsp", "DESCRIBE /a RTSP/1.0"},
      {"bare CR", "GET /a HTTP/1.1\rX"},
  };
}

std::vector<Piece> StatusLines() {
  return {
      {"plain", "HTTP/1.1 200 OK"},
      {"1.0", "HTTP/1.0 200 OK"},
      {"2.0", "HTTP/2.0 200 OK"},
      {"0.9", "HTTP/0.9 200 OK"},
      {"version case", "http/1.1 200 OK"},
      {"other protocol", "ICY 200 OK"},
      {"no reason", "HTTP/1.1 200 "},
      {"no reason, no space", "HTTP/1.1 200"},
      {"reason beyond ASCII", "HTTP/1.1 200 \xc3\x96k"},
      {"reason with tab", "HTTP/1.1 200 O\tK"},
      {"reason with control", "HTTP/1.1 200 O\x01K"},
      {"reason with NUL", std::string("HTTP/1.1 200 O\0K", 16)},
      {"reason with bare CR", "HTTP/1.1 200 O\rK"},
      {"two spaces", "HTTP/1.1  200 OK"},
      {"tab", "HTTP/1.1\t200 OK"},
      {"leading space", " HTTP/1.1 200 OK"},
      {"leading empty line", "\r\nHTTP/1.1 200 OK"},
      {"two digits", "HTTP/1.1 20 OK"},
      {"four digits", "HTTP/1.1 2000 OK"},
      {"letters", "HTTP/1.1 2xx OK"},
      {"plus", "HTTP/1.1 +20 OK"},
      {"zero", "HTTP/1.1 000 OK"},
      {"099", "HTTP/1.1 099 OK"},
      {"600", "HTTP/1.1 600 OK"},
      {"999", "HTTP/1.1 999 OK"},
      {"continue", "HTTP/1.1 100 Continue"},
      {"switching", "HTTP/1.1 101 Switching Protocols"},
      {"early hints", "HTTP/1.1 103 Early Hints"},
      {"no content", "HTTP/1.1 204 No Content"},
      {"reset content", "HTTP/1.1 205 Reset Content"},
      {"not modified", "HTTP/1.1 304 Not Modified"},
      {"error", "HTTP/1.1 500 Oh"},
  };
}

std::vector<Piece> Hosts() {
  return {
      {"plain", "Host: a\r\n"},
      {"missing", ""},
      {"empty", "Host:\r\n"},
      {"list", "Host: a, b\r\n"},
      {"path", "Host: a/b\r\n"},
      {"user", "Host: u@a\r\n"},
      {"space", "Host: a b\r\n"},
      {"port", "Host: a:80\r\n"},
      {"port of words", "Host: a:http\r\n"},
      {"port too large", "Host: a:99999\r\n"},
      {"ipv6", "Host: [::1]:80\r\n"},
      {"ipv6 open", "Host: [::1\r\n"},
      {"beyond ASCII", "Host: caf\xc3\xa9\r\n"},
  };
}

std::vector<Piece> Bodies() {
  return {
      {"none", ""},
      {"five", "hello"},
      {"chunks", kChunks},
      {"upper case", "A\r\n0123456789\r\n0\r\n\r\n"},
      {"leading zeros", "0005\r\nhello\r\n000\r\n\r\n"},
      {"plus", "+5\r\nhello\r\n0\r\n\r\n"},
      {"0x", "0x5\r\nhello\r\n0\r\n\r\n"},
      {"space behind size", "5 \r\nhello\r\n0\r\n\r\n"},
      {"space before size", " 5\r\nhello\r\n0\r\n\r\n"},
      {"tab behind size", "5\t\r\nhello\r\n0\r\n\r\n"},
      {"size without digits", "\r\nhello\r\n0\r\n\r\n"},
      {"size too large", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"},
      {"size of 16 digits", "ffffffffffffffff\r\nhello"},
      {"size wraps", "10000000000000005\r\nhello\r\n0\r\n\r\n"},
      {"size of 20 zeros", "00000000000000000005\r\nhello\r\n0\r\n\r\n"},
      {"bare LF behind size", "5\nhello\r\n0\r\n\r\n"},
      {"bare CR behind size", "5\rhello\r\n0\r\n\r\n"},
      {"bare LF behind data", "5\r\nhello\n0\r\n\r\n"},
      {"data too long", "5\r\nhelloo\r\n0\r\n\r\n"},
      {"data too short", "5\r\nhell\r\n0\r\n\r\n"},
      {"extension", "5;a=b\r\nhello\r\n0\r\n\r\n"},
      {"extension without name", "5;\r\nhello\r\n0\r\n\r\n"},
      {"extension with space", "5 ; a = b\r\nhello\r\n0\r\n\r\n"},
      {"extension quoted", "5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n"},
      {"extension quoted pair", "5;a=\"b\\\"c\"\r\nhello\r\n0\r\n\r\n"},
      {"extension quote open", "5;a=\"b\r\nhello\r\n0\r\n\r\n"},
      {"extension bare LF", "5;a\nhello\r\n0\r\n\r\n"},
      {"extension bare CR", "5;a\rb\r\nhello\r\n0\r\n\r\n"},
      {"extension NUL", std::string("5;a\0\r\nhello\r\n0\r\n\r\n", 19)},
      {"extension of controls", "5;a=\x01\r\nhello\r\n0\r\n\r\n"},
      {"extension without semicolon", "5 a\r\nhello\r\n0\r\n\r\n"},
      {"extension beyond ASCII", "5;a=\xc3\xa9\r\nhello\r\n0\r\n\r\n"},
      {"extension on the last", "5\r\nhello\r\n0;a=b\r\n\r\n"},
      {"trailer", "5\r\nhello\r\n0\r\nX: y\r\n\r\n"},
      {"trailer of framing", "5\r\nhello\r\n0\r\nContent-Length: 30\r\n\r\n"},
      {"trailer cookie", "5\r\nhello\r\n0\r\nCookie: a=b\r\n\r\n"},
      {"trailer malformed", "5\r\nhello\r\n0\r\nX y\r\n\r\n"},
      {"trailer folded", "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"},
      {"trailer bare LF", "5\r\nhello\r\n0\r\nX: y\n\r\n"},
      {"last chunk bare LF", "5\r\nhello\r\n0\n\n"},
      {"last line bare LF", "5\r\nhello\r\n0\r\n\n"},
      {"last line missing", "5\r\nhello\r\n0\r\n"},
      {"two last chunks", "5\r\nhello\r\n0\r\n\r\n0\r\n\r\n"},
  };
}

std::string Request(const std::string& line, const std::string& host, const std::string& fields,
                    const std::string& body) {
  return absl::StrCat(line, "\r\n", host, fields, fields.empty() ? "" : "\r\n", "\r\n", body);
}

// Byte by byte changes, of the kinds that confuse parsers.
void Mutate(std::mt19937_64* random, std::string* bytes) {
  static constexpr char kNasty[] = "\r\n \t:;,\0\x0b\x7f\xff\"0+-x";
  const size_t at = (*random)() % bytes->size();
  const char nasty = kNasty[(*random)() % (sizeof(kNasty) - 1)];
  switch ((*random)() % 4) {
    case 0:
      (*bytes)[at] = nasty;
      break;
    case 1:
      bytes->insert(at, 1, nasty);
      break;
    case 2:
      bytes->erase(at, 1);
      break;
    default:
      (*bytes)[at] = static_cast<char>((*random)());
  }
}

template <typename T>
const T& Pick(std::mt19937_64* random, const std::vector<T>& from) {
  return from[(*random)() % from.size()];
}

// Each line with either kind of framing before and behind it, and each body.
template <typename Add>
void AddFramings(const char* first_line, const char* host, const Add& add) {
  for (const Piece& line : Lines()) {
    for (const char* other : {"Content-Length: 5", "Transfer-Encoding: chunked"}) {
      add(absl::StrCat("field: ", line.name, " behind ", other),
          Request(first_line, host, absl::StrCat(other, "\r\n", line.text), kChunks));
      add(absl::StrCat("field: ", line.name, " before ", other),
          Request(first_line, host, absl::StrCat(line.text, "\r\n", other), kChunks));
    }
  }
  for (const Piece& body : Bodies()) {
    add(absl::StrCat("chunks: ", body.name),
        Request(first_line, host, "Transfer-Encoding: chunked", body.text));
  }
}

std::vector<Stream> WrittenRequests() {
  std::vector<Stream> streams;
  const auto add = [&streams](const std::string& name, const std::string& request) {
    streams.push_back({name, request + kNext});
  };
  for (const Piece& line : RequestLines()) {
    add(absl::StrCat("request line: ", line.name), Request(line.text, "Host: a\r\n", "", ""));
    add(absl::StrCat("request line with length: ", line.name),
        Request(line.text, "Host: a\r\n", "Content-Length: 5", "hello"));
    add(absl::StrCat("request line with chunks: ", line.name),
        Request(line.text, "Host: a\r\n", "Transfer-Encoding: chunked", kChunks));
  }
  for (const Piece& host : Hosts()) {
    for (const char* version : {"1", "0"}) {
      add(absl::StrCat("host: ", host.name, ", 1.", version),
          Request(absl::StrCat("GET /a HTTP/1.", version), host.text, "Connection: keep-alive",
                  ""));
    }
  }
  for (const Piece& line : Lines()) {
    for (const Piece& body :
         {Piece{"none", ""}, Piece{"five", "hello"}, Piece{"chunks", kChunks}}) {
      add(absl::StrCat("field: ", line.name, ", body: ", body.name),
          Request("POST /a HTTP/1.1", "Host: a\r\n", line.text, body.text));
    }
  }
  AddFramings("POST /a HTTP/1.1", "Host: a\r\n", add);
  streams.push_back({"pipelined", absl::StrCat(kNext, kNext, kNext)});
  streams.push_back({"bare LF throughout",
                     "POST /a HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n"});
  streams.push_back({"empty", ""});
  // A stream may end anywhere.
  const std::string whole =
      Request("POST /a HTTP/1.1", "Host: a\r\n", "Transfer-Encoding: chunked", kChunks);
  for (size_t n = 1; n < whole.size(); ++n) {
    streams.push_back({absl::StrCat("cut at ", n), whole.substr(0, n)});
  }
  return streams;
}

std::vector<Stream> WrittenResponses() {
  std::vector<Stream> streams;
  const auto add = [&streams](const std::string& name, const std::string& response) {
    streams.push_back({name, response + kNextResponse});
  };
  for (const Piece& line : StatusLines()) {
    for (const Piece& framing : {Piece{"none", ""}, Piece{"length", "Content-Length: 5"},
                                 Piece{"chunks", "Transfer-Encoding: chunked"}}) {
      const bool chunks = framing.text[0] == 'T';
      add(absl::StrCat("status line: ", line.name, ", ", framing.name),
          Request(line.text, "", framing.text, chunks ? kChunks : "hello"));
      add(absl::StrCat("status line: ", line.name, ", ", framing.name, ", no body"),
          Request(line.text, "", framing.text, ""));
    }
  }
  for (const Piece& line : Lines()) {
    add(absl::StrCat("field: ", line.name), Request("HTTP/1.1 200 OK", "", line.text, kChunks));
  }
  AddFramings("HTTP/1.1 200 OK", "", add);
  return streams;
}

// What messages of one kind are made of.
struct Parts {
  const char* name;
  std::vector<Piece> first_lines;
  const char* first_line;
  std::vector<Piece> hosts;
  const char* host;
  int odd_body_in;  // One of so many has another body than `body`.
  const char* body;
  const char* next;
};

Parts PartsOf(StreamKind kind) {
  if (kind == StreamKind::kRequests) {
    return {"diced ", RequestLines(), "POST /a HTTP/1.1", Hosts(), "Host: a\r\n", 1, "", kNext};
  }
  return {"diced response ", StatusLines(), "HTTP/1.1 200 OK", {}, "", 2, kChunks, kNextResponse};
}

}  // namespace

std::vector<Stream> WrittenStreams(StreamKind kind) {
  return kind == StreamKind::kRequests ? WrittenRequests() : WrittenResponses();
}

std::vector<Stream> DicedStreams(StreamKind kind, uint64_t seed, int count) {
  std::mt19937_64 random(seed);
  const Parts parts = PartsOf(kind);
  const std::vector<Piece> lines = Lines();
  const std::vector<Piece> bodies = Bodies();
  std::vector<Stream> streams;
  for (int i = 0; i < count; ++i) {
    // Mostly sound, or the first oddity would hide the others.
    const auto odd = [&random](int sides) { return sides == 1 || random() % sides == 0; };
    std::string fields = odd(2) ? "Transfer-Encoding: chunked" : "";
    for (int n = random() % 3; n > 0; --n) {
      absl::StrAppend(&fields, fields.empty() ? "" : "\r\n", Pick(&random, lines).text);
    }
    const std::string body = odd(parts.odd_body_in) ? Pick(&random, bodies).text : parts.body;
    std::string host = parts.host;
    if (!parts.hosts.empty() && odd(8)) host = Pick(&random, parts.hosts).text;
    const std::string line = odd(4) ? Pick(&random, parts.first_lines).text : parts.first_line;
    std::string bytes = Request(line, host, fields, body) + parts.next;
    for (int n = random() % 3; n > 0; --n) Mutate(&random, &bytes);
    streams.push_back({absl::StrCat(parts.name, seed, "/", i), std::move(bytes)});
  }
  return streams;
}

}  // namespace roost::proxy
