// Receive webhooks of Comity: check the signature, answer the challenge, act once on each event.
//
//     npm ci && WEBHOOK_SECRET=whsec_... node receiver.mjs [PORT]
//
// Needs Node 20 or later and the package standardwebhooks. Prints a line for each event.

import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const MOST = 64 * 1024; // bytes of a body; notifications have a few hundred
const webhook = new Webhook(process.env.WEBHOOK_SECRET);
const seen = new Set(); // in production: a table with a unique column, written in the transaction of your own work

/** Do your own work here, and keep it short: the sender waits at most 15 seconds for the answer. */
function handle(event) {
  console.log(event.type, JSON.stringify(event.data));
}

/** The body as text, or null if it is too long. */
async function read(request) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length > MOST) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

const server = createServer(async (request, response) => {
  const body = await read(request);
  if (body === null) return response.writeHead(413).end();
  let event;
  try {
    event = webhook.verify(body, request.headers);
  } catch {
    return response.writeHead(401).end();
  }
  if (event.type === "webhook.challenge") {
    response.writeHead(200, { "Content-Type": "application/json" });
    return response.end(JSON.stringify({ challenge: event.data.challenge }));
  }
  // The same event arrives again if an earlier answer was lost.
  const id = request.headers["webhook-id"];
  if (!seen.has(id)) {
    handle(event);
    seen.add(id);
  }
  response.writeHead(204).end();
});

server.listen(Number(process.argv[2] ?? 8490), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
