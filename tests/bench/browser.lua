-- For wrk: one request as a browser sends it (about 600 bytes), and figures that a program can read.
-- Usage: wrk -s browser.lua URL -- JSESSIONID [PATH [UPLOAD_BYTES [close [SESSIONS]]]]
--
-- UPLOAD_BYTES: 0, or a POST with a body of that size. close: every request on a connection of its own ("keep": not).
-- SESSIONS: JSESSIONID is a pattern with a %d, which each request fills in with a random number below SESSIONS.

local sessions, pieces

function init(args)
  local upload = tonumber(args[3] or "0")
  wrk.headers["User-Agent"] =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36"
  wrk.headers["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
  wrk.headers["Accept-Language"] = "en-GB,en;q=0.7,de;q=0.3"
  wrk.headers["Accept-Encoding"] = "gzip, deflate, br"
  wrk.headers["Referer"] = "https://shop.example/catalogue/fruit?page=2"
  wrk.headers["Cookie"] = "theme=dark; consent=0123456789abcdef; JSESSIONID=" .. (args[1] or "none")
  wrk.headers["Sec-Fetch-Dest"] = "document"
  wrk.headers["Sec-Fetch-Mode"] = "navigate"
  wrk.headers["Sec-Fetch-Site"] = "same-origin"
  wrk.headers["Upgrade-Insecure-Requests"] = "1"
  if args[4] == "close" then wrk.headers["Connection"] = "close" end
  head = wrk.format(upload > 0 and "POST" or "GET", args[2] or "/catalogue/fruit/apples", nil,
                    upload > 0 and string.rep("x", upload) or nil)
  if args[5] then
    sessions = tonumber(args[5])
    local from, to = head:find("%%%d*d", (head:find("JSESSIONID=", 1, true)))
    pieces = {head:sub(1, from - 1), head:sub(from, to), head:sub(to + 1)}
  end
end

function request()
  if not pieces then return head end
  return pieces[1] .. string.format(pieces[2], math.random(0, sessions - 1)) .. pieces[3]
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "errors": %d, "head_bytes": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout, head and #head or 0))
end
