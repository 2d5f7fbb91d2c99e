#include "proxy/core/soap_scan.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "proxy/core/body_id_scan.h"

namespace roost::proxy {
namespace {

constexpr char kEnvelope[] =
    "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\">";
constexpr char kId[] =
    "<axis2:ServiceGroupId xmlns:axis2=\"http://ws.apache.org/namespaces/axis2\">urn:uuid:1-2"
    "</axis2:ServiceGroupId>";

std::string Scan(absl::string_view message) {
  SoapScan scan;
  const SoapScan::Result at_once = scan.Feed(message);
  SoapScan bytewise;
  SoapScan::Result by_bytes = SoapScan::Result::kMore;
  for (size_t i = 0; i < message.size(); ++i) by_bytes = bytewise.Feed(message.substr(i, 1));
  EXPECT_EQ(by_bytes, at_once) << message;
  if (at_once == SoapScan::Result::kFound) {
    EXPECT_EQ(scan.id(), bytewise.id());
  }
  return at_once == SoapScan::Result::kFound  ? std::string(scan.id())
         : at_once == SoapScan::Result::kMore ? "more"
                                              : "none";
}

std::string InHeader(absl::string_view header) {
  return Scan(absl::StrCat("<?xml version='1.0' encoding='UTF-8'?>\n", kEnvelope,
                           "<soapenv:Header>", header, "</soapenv:Header><soapenv:Body/>"));
}

TEST(SoapScanTest, FindsTheIdInRequests) {
  EXPECT_EQ(InHeader(kId), "urn:uuid:1-2");
  EXPECT_EQ(InHeader(absl::StrCat("<a:b xmlns:a='x'><c d=\"/>\"/>t</a:b><!-- - --> ", kId)),
            "urn:uuid:1-2");
  EXPECT_EQ(InHeader("<ServiceGroupId xmlns=\"http://ws.apache.org/namespaces/axis2\" a='>'>\n"
                     " x y \t</ServiceGroupId>"),
            "x y");
}

TEST(SoapScanTest, FindsTheIdInResponses) {
  for (const char* addressing : {"http://www.w3.org/2005/08/addressing",
                                 "http://schemas.xmlsoap.org/ws/2004/08/addressing"}) {
    EXPECT_EQ(InHeader(absl::StrCat("<w:Action xmlns:w='", addressing, "'>urn:a</w:Action>",
                                    "<w:ReplyTo xmlns:w='", addressing,
                                    "'><w:Address>http://a</w:Address><w:ReferenceParameters>", kId,
                                    "</w:ReferenceParameters></w:ReplyTo>")),
              "urn:uuid:1-2");
  }
}

TEST(SoapScanTest, NamesGoByTheirNamespace) {
  EXPECT_EQ(InHeader(absl::StrReplaceAll(kId, {{"namespaces/axis2", "namespaces/axis3"}})), "none");
  EXPECT_EQ(InHeader("<axis2:ServiceGroupId>x</axis2:ServiceGroupId>"), "none");
  EXPECT_EQ(InHeader(absl::StrCat("<a xmlns:axis2='http://ws.apache.org/namespaces/axis2'/>",
                                  "<axis2:ServiceGroupId>x</axis2:ServiceGroupId>")),
            "none")
      << "bound in another element only";
  EXPECT_EQ(InHeader(absl::StrCat("<a>", kId, "</a>")), "none") << "not a child of the Header";
  EXPECT_EQ(InHeader(absl::StrCat("<ReplyTo xmlns='x'>", kId, "</ReplyTo>")), "none");
  EXPECT_EQ(Scan(absl::StrCat("<Envelope xmlns='x'><Header>", kId)), "none");
  EXPECT_EQ(Scan(absl::StrCat(kEnvelope, "<soapenv:Body>", kId)), "none");
}

TEST(SoapScanTest, ReadsSoap12AndTheRootPartOfAMultipart) {
  const std::string message =
      absl::StrCat("<e:Envelope xmlns:e='http://www.w3.org/2003/05/soap-envelope'><e:Header>", kId);
  EXPECT_EQ(Scan(message), "urn:uuid:1-2");
  EXPECT_EQ(Scan("\xef\xbb\xbf \r\n" + message), "urn:uuid:1-2");
  EXPECT_EQ(Scan("\r\n--b1\r\nContent-Type: application/xop+xml\r\n\r\n" + message),
            "urn:uuid:1-2");
}

TEST(SoapScanTest, WhatItDoesNotUnderstandHasNoId) {
  EXPECT_EQ(Scan("<!DOCTYPE x [<!ENTITY a 'b'>]>"), "none");
  EXPECT_EQ(Scan("{\"json\":1}"), "none");
  EXPECT_EQ(Scan(std::string("\xff\xfe<\0", 4)), "none");
  EXPECT_EQ(InHeader(absl::StrReplaceAll(kId, {{"urn", "&#117;rn"}})), "none");
  EXPECT_EQ(InHeader(absl::StrReplaceAll(kId, {{"urn", "<![CDATA[urn]]>"}})), "none");
  EXPECT_EQ(InHeader(absl::StrReplaceAll(kId, {{"urn", "<b/>"}})), "none");
  EXPECT_EQ(InHeader(absl::StrReplaceAll(kId, {{"urn:uuid:1-2", " "}})), "none");
  EXPECT_EQ(InHeader(absl::StrCat("<![CDATA[</soapenv:Header>]]>", kId)), "urn:uuid:1-2");
}

TEST(SoapScanTest, EverythingIsBounded) {
  std::string deep, bindings, long_id = kId;
  for (int i = 0; i < 40; ++i) absl::StrAppend(&deep, "<a>");
  for (int i = 0; i < 40; ++i) absl::StrAppend(&bindings, " xmlns:p", i, "='x'");
  EXPECT_EQ(InHeader(deep), "none");
  EXPECT_EQ(InHeader(absl::StrCat("<a", bindings, "/>", kId)), "none");
  EXPECT_EQ(InHeader(absl::StrCat("<", std::string(200, 'n'), "/>", kId)), "urn:uuid:1-2");
  EXPECT_EQ(InHeader(absl::StrReplaceAll(kId, {{"urn", std::string(1'100, 'u')}})), "none");
  EXPECT_EQ(Scan(kEnvelope), "more");
}

std::string ScanBody(BodyIdScan::Kind kind, BodyKind body, absl::string_view bytes,
                     size_t bytes_max = 8'192, uint64_t length = 1'000'000) {
  const std::string buffer = absl::StrCat("HEAD", bytes);
  BodyIdScan scan;
  scan.Start(kind, body, length, 4, bytes_max);
  BodyIdScan::Result result = BodyIdScan::Result::kMore;
  for (size_t size = 4; size <= buffer.size() && result == BodyIdScan::Result::kMore; ++size) {
    result = scan.Run(absl::string_view(buffer).substr(0, size));
  }
  return result == BodyIdScan::Result::kFound  ? std::string(scan.id())
         : result == BodyIdScan::Result::kMore ? "more"
                                               : "none";
}

TEST(BodyIdScanTest, LooksThroughTheFraming) {
  const std::string soap = absl::StrCat(kEnvelope, "<soapenv:Header>", kId);
  std::string chunks;
  for (const char c : soap) absl::StrAppend(&chunks, "1;x=y\r\n", std::string(1, c), "\r\n");
  EXPECT_EQ(ScanBody(BodyIdScan::Kind::kSoap, BodyKind::kChunked, chunks), "urn:uuid:1-2");
  EXPECT_EQ(ScanBody(BodyIdScan::Kind::kSoap, BodyKind::kLength, soap), "urn:uuid:1-2");
  EXPECT_EQ(ScanBody(BodyIdScan::Kind::kSoap, BodyKind::kLength, soap, 100), "none");
  EXPECT_EQ(ScanBody(BodyIdScan::Kind::kSoap, BodyKind::kLength, soap, 8'192, 100), "none");
  EXPECT_EQ(ScanBody(BodyIdScan::Kind::kSoap, BodyKind::kChunked, "zz\r\n"), "none");
}

TEST(BodyIdScanTest, FindsTheIdOfASocketIoHandshake) {
  const auto scan = [](absl::string_view text) {
    return ScanBody(BodyIdScan::Kind::kSocketIo, BodyKind::kLength, text);
  };
  EXPECT_EQ(scan("0{\"sid\":\"lv_VI97HAXpY6yYWAAAC\",\"upgrades\":[\"websocket\"]}"),
            "lv_VI97HAXpY6yYWAAAC");
  EXPECT_EQ(scan("96:0{\"pingInterval\":25000,\"sid\":\"abc\"}2:40"), "abc");
  EXPECT_EQ(scan("40{\"sid\":\"abc\"}"), "none") << "Socket.IO's own packet";
  EXPECT_EQ(scan("0{\"sid\":\"\"}"), "none");
  EXPECT_EQ(scan("0{\"sid\":\"a\\u0041\"}"), "none");
  EXPECT_EQ(scan("0{\"x\":{}}"), "none");
  EXPECT_EQ(scan("0{" + std::string(600, ' ')), "none");
  EXPECT_EQ(scan("<html>"), "none");
  EXPECT_EQ(scan("0{\"sid\":\"ab"), "more");
}

}  // namespace
}  // namespace roost::proxy
