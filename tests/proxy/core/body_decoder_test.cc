#include "proxy/core/body_decoder.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace roost::proxy {
namespace {

struct Decoded {
  std::string payload;
  size_t consumed = 0;
  bool done = false;
  int error = 0;
};

// Feeds pieces of `piece` bytes.
Decoded Decode(BodyDecoder decoder, absl::string_view in, size_t piece) {
  Decoded result;
  result.done = decoder.done();
  while (result.consumed < in.size() && !result.done && result.error == 0) {
    const auto step = decoder.Decode(in.substr(result.consumed, piece));
    result.payload.append(step.data.data(), step.data.size());
    result.consumed += step.consumed;
    result.done = step.done;
    if (step.error) result.error = decoder.error().status;
    if (step.consumed == 0) break;
  }
  return result;
}

BodyDecoder Chunked(const BodyLimits& limits = {}) { return {BodyKind::kChunked, 0, limits}; }

TEST(BodyDecoderTest, EncodedChunksDecodeToThemselves) {
  const std::string payload = [] {
    std::string text;
    for (int i = 0; i < 70'000; ++i) text += static_cast<char>(i * 7);
    return text;
  }();
  for (const size_t chunk : {1u, 15u, 16u, 255u, 4096u, 70'000u}) {
    std::string encoded;
    for (size_t at = 0; at < payload.size(); at += chunk) {
      const std::string part = payload.substr(at, chunk);
      absl::StrAppend(&encoded, ChunkHeader(part.size()).text(), part, kChunkEnd);
    }
    absl::StrAppend(&encoded, kLastChunk);
    for (const size_t piece : {size_t{1}, size_t{7}, encoded.size() + 5}) {
      const Decoded d = Decode(Chunked(), encoded + "GET /", piece);
      EXPECT_TRUE(d.done);
      EXPECT_EQ(d.consumed, encoded.size());
      EXPECT_TRUE(d.payload == payload);
    }
  }
}

TEST(BodyDecoderTest, TableOfChunkedBodies) {
  struct Case {
    absl::string_view bytes;
    bool done;
    int error;
  };
  const Case kCases[] = {
      {"0\r\n\r\n", true, 0},
      {"00\r\n\r\n", true, 0},
      {"3\r\nabc\r\n0\r\n\r\n", true, 0},
      {"A;a=b\r\n0123456789\r\n0;x\r\n\r\n", true, 0},
      {"1;a=\"b\\\";c\"\r\nx\r\n0\r\n\r\n", true, 0},
      {"0\r\nA: b\r\nC:\r\n\r\n", true, 0},
      {"3\r\nab", false, 0},
      {"0\r\n", false, 0},
      {"\r\n", false, 400},
      {"-1\r\n", false, 400},
      {"+1\r\nx\r\n", false, 400},
      {"0x1\r\nx\r\n", false, 400},
      {" 1\r\nx\r\n", false, 400},
      {"1 \r\nx\r\n", false, 400},
      {"1_0\r\n", false, 400},
      {"g\r\n", false, 400},
      {";a\r\n", false, 400},
      {"1\nx\r\n", false, 400},
      {"1\r\nx\n", false, 400},
      {"1\r\nxy\r\n", false, 400},
      {"1\r\rx", false, 400},
      {"1;a\nx\r\n", false, 400},
      {"1;a\rb\r\n", false, 400},
      {"1;a=\"\r\n\"\r\n", false, 400},
      {"10000000000000001\r\nx", false, 400},
      {"00000000000000000001\r\nx", false, 400},
      {"0\r\nA b\r\n\r\n", false, 400},
      {"0\r\nA: b\n\r\n", false, 400},
      {"0\r\n A: b\r\n\r\n", false, 400},
      {"0\r\n: b\r\n\r\n", false, 400},
      {"0\r\n\rx", false, 400},
  };
  for (const Case& c : kCases) {
    for (const size_t piece : {size_t{1}, size_t{1'000}}) {
      const Decoded d = Decode(Chunked(), c.bytes, piece);
      EXPECT_EQ(d.done, c.done) << c.bytes;
      EXPECT_EQ(d.error, c.error) << c.bytes;
    }
  }
}

TEST(BodyDecoderTest, LengthEndsExactly) {
  const Decoded d = Decode({BodyKind::kLength, 3, {}}, "abcdef", 2);
  EXPECT_TRUE(d.done);
  EXPECT_EQ(d.payload, "abc");
  EXPECT_EQ(d.consumed, 3u);
  EXPECT_TRUE(BodyDecoder(BodyKind::kLength, 0, {}).done());
  EXPECT_TRUE(BodyDecoder(BodyKind::kNone, 0, {}).done());
}

TEST(BodyDecoderTest, PayloadMayPassUnseenWhereOnlyItsLengthMatters) {
  BodyDecoder length(BodyKind::kLength, 10, {});
  EXPECT_EQ(length.passable(), 10u);
  EXPECT_EQ(length.Decode("abc").data, "abc");
  EXPECT_EQ(length.passable(), 7u);
  length.Pass(6);
  EXPECT_FALSE(length.done());
  length.Pass(1);
  EXPECT_TRUE(length.done());
  EXPECT_EQ(length.payload_bytes(), 10u);
  EXPECT_EQ(length.passable(), 0u);
  BodyDecoder chunked(BodyKind::kChunked, 0, {});
  chunked.Decode("ff\r\nabc");
  EXPECT_EQ(chunked.passable(), 0u);
  BodyDecoder until_close(BodyKind::kUntilClose, 0, {});
  EXPECT_GT(until_close.passable(), uint64_t{1} << 60);
  until_close.Pass(1'000);
  EXPECT_TRUE(until_close.CompleteAtClose());
  EXPECT_EQ(BodyDecoder(BodyKind::kUntilClose, 0, {.body_bytes_max = 5}).passable(), 0u);
  EXPECT_EQ(BodyDecoder(BodyKind::kLength, 0, {}).passable(), 0u);
}

TEST(BodyDecoderTest, CloseEndsOnlyWhatItMay) {
  BodyDecoder until_close(BodyKind::kUntilClose, 0, {});
  EXPECT_EQ(until_close.Decode("abc").data, "abc");
  EXPECT_TRUE(until_close.CompleteAtClose());
  BodyDecoder length(BodyKind::kLength, 5, {});
  length.Decode("abc");
  EXPECT_FALSE(length.CompleteAtClose());
  EXPECT_EQ(length.remaining(), 2u);
  EXPECT_FALSE(Chunked().CompleteAtClose());
}

TEST(BodyDecoderTest, LimitsHold) {
  const BodyLimits limits{.body_bytes_max = 4,
                          .chunk_line_bytes_max = 16,
                          .overhead_bytes_max = 24,
                          .trailer_bytes_max = 16,
                          .trailers_max = 2};
  EXPECT_EQ(Decode({BodyKind::kLength, 4, limits}, "abcd", 9).error, 0);
  EXPECT_EQ(Decode({BodyKind::kLength, 5, limits}, "abcde", 9).error, 413);
  EXPECT_EQ(Decode({BodyKind::kUntilClose, 0, limits}, "abcde", 2).error, 413);
  EXPECT_EQ(Decode(Chunked(limits), "4\r\nabcd\r\n0\r\n\r\n", 99).error, 0);
  EXPECT_EQ(Decode(Chunked(limits), "3\r\nabc\r\n2\r\nde\r\n", 99).error, 413);
  EXPECT_EQ(Decode(Chunked(limits), "1;aaaaaaaaaaaaaaaaaaaaa\r\n", 99).error, 400);
  EXPECT_EQ(
      Decode(Chunked(limits), "1;aaaaaaaaaa\r\nx\r\n1;aaaaaaaaaa\r\nx\r\n1;aaaa\r\n", 99).error,
      400);
  EXPECT_EQ(Decode(Chunked(limits), "0\r\nA: bbbbbbbbbbbbbbbbbbbbbb\r\n\r\n", 99).error, 431);
  EXPECT_EQ(Decode(Chunked(limits), "0\r\nA:\r\nB:\r\nC:\r\n\r\n", 99).error, 431);
}

}  // namespace
}  // namespace roost::proxy
