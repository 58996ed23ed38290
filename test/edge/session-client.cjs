/**
 * A TLS client that offers any session under any name, for whichever Node runs it: before 22 Node lets it. Takes a JSON
 * object of connection options, `offer` and `keep` (files of sessions) and `request`; prints whether the session was
 * resumed and what came back.
 */
'use strict';
const { readFileSync, writeFileSync } = require('node:fs');
const { connect } = require('node:tls');

const { offer, keep, request, ...options } = JSON.parse(process.argv[2]);
const session = offer === undefined ? undefined : readFileSync(offer);
const socket = connect({ ...options, session, rejectUnauthorized: false });
let answer = '';
let resumed = false;
socket.on('secureConnect', () => {
  resumed = socket.isSessionReused();
  socket.write(request);
});
socket.on('session', (made) => keep !== undefined && writeFileSync(keep, made));
socket.on('data', (piece) => {
  answer += piece.toString('latin1');
});
socket.on('error', () => undefined);
socket.on('close', () => process.stdout.write(JSON.stringify({ resumed, answer })));
