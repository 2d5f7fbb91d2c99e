// MCP clients that count, each request on a connection of its own. Prints "LOST ALL".
import {Client} from '@modelcontextprotocol/sdk/client/index.js';
import {StreamableHTTPClientTransport} from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [port, clients, calls] = process.argv.slice(2).map(Number);
const headers = {Connection: 'close'};
let lost = 0;
for (let c = 0; c < clients; ++c) {
  const client = new Client({name: 'interop', version: '1.0.0'});
  client.onerror = () => {};
  try {
    await client.connect(new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${port}/mcp`), {requestInit: {headers}}));
    for (let i = 1; i <= calls; ++i) {
      const result = await client.callTool({name: 'count', arguments: {}}, undefined, {timeout: 10000});
      if (result.content[0].text !== String(i)) throw new Error('another session');
    }
    await client.close();
  } catch (error) {
    ++lost;
  }
}
console.log(`${lost} ${clients}`);
process.exit(0);
