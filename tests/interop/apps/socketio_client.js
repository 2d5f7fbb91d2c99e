// Connects by long-polling, each request on a connection of its own, and counts; some go on to a WebSocket. Prints "LOST ALL".
const http = require('http');
const {io} = require('socket.io-client');

const [port, clients, messages] = process.argv.slice(2).map(Number);

function visit(transports) {
  return new Promise(resolve => {
    const socket = io(`http://127.0.0.1:${port}`, {
      transports, forceNew: true, reconnection: false, timeout: 10000, agent: new http.Agent({keepAlive: false})});
    const end = good => { resolve(good); clearTimeout(timer); socket.close(); };
    const timer = setTimeout(() => end(false), 20000);
    socket.on('connect_error', () => end(false));
    socket.on('disconnect', () => end(false));
    socket.on('connect', async () => {
      const engine = socket.io.engine;
      let expected = 0;
      const count = async () => {
        for (let i = 0; i < messages; ++i) {
          if (await new Promise(answer => socket.emit('count', answer)) !== ++expected) return end(false);
        }
      };
      await count();
      if (transports.includes('websocket')) {
        if (engine.transport.name !== 'websocket') await new Promise(done => engine.once('upgrade', done));
        await count();
      }
      end(true);
    });
  });
}

(async () => {
  let lost = 0;
  for (let i = 0; i < clients; ++i) {
    if (!await visit(i % 2 ? ['polling'] : ['polling', 'websocket'])) ++lost;
  }
  console.log(`${lost} ${clients}`);
  process.exit(0);
})();
