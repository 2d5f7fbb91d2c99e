// Reads streams of requests or responses with the parser of Node's HTTP server and client (llhttp, as strict as they are) and says what
// it found. The protocol: node_reader.cc. Its child: it ends with its standard input.
'use strict';

const binding = process.binding('http_parser');
const { HTTPParser } = binding;
const METHODS = binding.allMethods || binding.methods;

const word = (text) => '=' + Buffer.from(text, 'latin1').toString('hex');

function read(kind, stream) {
  const lines = [];
  let message = null;
  let fields = [];
  let tunnel = false;
  let keepAlive = true;
  const parser = new HTTPParser();
  parser.initialize(kind, {});
  parser[HTTPParser.kOnMessageBegin] = () => {};
  // Trailers, or more fields than fit into one call; then the target comes this way too.
  let target = '';
  parser[HTTPParser.kOnHeaders] = (more, url) => {
    if (message) return;
    fields.push(...more);
    target += url;
  };
  parser[HTTPParser.kOnHeadersComplete] = (major, minor, rest, method, url, status, reason, upgrade, shouldKeepAlive) => {
    fields.push(...(rest || []));
    message = kind === HTTPParser.RESPONSE
      ? { method: String(status), url: reason, fields, body: [] }
      : { method: METHODS[method] || `METHOD${method}`, url: url === undefined ? target : url, fields, body: [] };
    fields = [];
    target = '';
    tunnel = upgrade;
    keepAlive = shouldKeepAlive;
    return 0;
  };
  parser[HTTPParser.kOnBody] = (chunk, start, length) => {
    message.body.push(Buffer.from(length === undefined ? chunk : chunk.subarray(start, start + length)));
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    lines.push(['M', word(message.method), word(message.url), '=' + Buffer.concat(message.body).toString('hex'),
      ...message.fields.map(word)].join(' '));
    message = null;
  };
  let used = 0;
  let end = null;
  // In the smallest pieces: only then is it known how much of the stream a complete message took.
  while (used < stream.length && !end) {
    const messages = lines.length;
    const result = parser.execute(stream.subarray(used, used + 1));
    used += 1;
    if (tunnel) {
      // The server hands the connection over at the end of the head.
      if (message) parser[HTTPParser.kOnMessageComplete]();
      end = ['tunnel', '-'];
    } else if (result instanceof Error) {
      end = result.code === 'HPE_CLOSED_CONNECTION' ? ['closed', '-'] : ['refused', result.code || 'unknown'];
    } else if (lines.length > messages) {
      if (!keepAlive) end = ['closed', '-'];
      else if (used === stream.length) end = ['boundary', '-'];
    }
  }
  if (!end && message && kind === HTTPParser.RESPONSE && !(parser.finish() instanceof Error) && !message) end = ['closed', '-'];
  if (!end) end = stream.length === 0 ? ['boundary', '-'] : ['midway', '-'];
  lines.push(['E', ...end].join(' '));
  parser.close();
  return lines.join('\n') + '\n';
}

process.stdout.write(`node ${process.version} llhttp ${process.versions.llhttp}\n`);
let rest = '';
process.stdin.setEncoding('latin1');
process.stdin.on('data', (chunk) => {
  rest += chunk;
  const lines = rest.split('\n');
  rest = lines.pop();
  for (const line of lines) {
    const kind = line[0] === 'Q' ? HTTPParser.REQUEST : HTTPParser.RESPONSE;
    process.stdout.write(read(kind, Buffer.from(line.slice(1), 'hex')));
  }
});
process.stdin.on('end', () => process.exit(0));
