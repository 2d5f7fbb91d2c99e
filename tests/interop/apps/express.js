// How often express-session, with its in-memory store, has seen the visitor.
const express = require('express');
const session = require('express-session');

const app = express();
app.use((request, response, next) => {
  response.set('X-Node', process.argv[3] || '');
  next();
});
app.use(session({secret: 'interop', resave: false, saveUninitialized: true}));
app.get('/', (request, response) => {
  request.session.count = (request.session.count || 0) + 1;
  response.type('text').send(String(request.session.count));
});
// As at a login: the session goes on under another id.
app.get('/login', (request, response) => {
  const {count} = request.session;
  request.session.regenerate(() => {
    request.session.count = (count || 0) + 1;
    response.type('text').send(String(request.session.count));
  });
});
app.listen(Number(process.argv[2]), '127.0.0.1');
