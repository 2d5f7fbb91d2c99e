// Judges what scanned fields say about framing, persistence and host: the semantic half of the head
// scanner. Inside proxy/core only.
#pragma once

#include "absl/strings/string_view.h"
#include "proxy/core/head.h"
#include "proxy/core/head_scanner.h"

namespace roost::proxy {

// host [":" port] of RFC 3986, not empty, without user information. No comma either: lists of hosts
// are how Host is smuggled.
bool IsAuthority(absl::string_view text);

// Fill in everything that follows from the fields. False: `error` says why.
bool JudgeRequest(RequestHead* head, ScanError* error);
bool JudgeResponse(const ResponseContext& context, ResponseHead* head, ScanError* error);

}  // namespace roost::proxy
