// A Socket.IO server that says how many messages each connection has sent it.
const http = require('http');
const {Server} = require('socket.io');

const server = http.createServer();
new Server(server).on('connection', socket => {
  let count = 0;
  socket.on('count', answer => answer(++count));
});
server.listen(Number(process.argv[2]), '127.0.0.1');
