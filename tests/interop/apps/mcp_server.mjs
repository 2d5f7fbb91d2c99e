// A stateful MCP server over streamable HTTP: each session has a counter, in memory.
import {randomUUID} from 'node:crypto';
import express from 'express';
import {McpServer} from '@modelcontextprotocol/sdk/server/mcp.js';
import {StreamableHTTPServerTransport} from '@modelcontextprotocol/sdk/server/streamableHttp.js';

const transports = new Map();

function newServer() {
  let count = 0;
  const server = new McpServer({name: 'counter', version: '1.0.0'});
  server.tool('count', async () => ({content: [{type: 'text', text: String(++count)}]}));
  return server;
}

const app = express();
app.use(express.json());
app.all('/mcp', async (request, response) => {
  let transport = transports.get(request.headers['mcp-session-id']);
  if (transport === undefined) {
    if (request.headers['mcp-session-id'] !== undefined) return response.status(404).end();
    transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: id => transports.set(id, transport),
    });
    await newServer().connect(transport);
  }
  await transport.handleRequest(request, response, request.body);
});
app.listen(Number(process.argv[2]), '127.0.0.1');
