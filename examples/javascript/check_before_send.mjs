// Ask Comity before you write to a customer outside of it, for example by e-mail.
//
//     API=https://comity.example/v1/business API_KEY=ck_live_... \
//         node check_before_send.mjs CONNECTION PURPOSE "TEXT"
//
// Needs Node 20 or later only. Ends with 0 if the e-mail was sent, with 1 if Comity said "not now" or "no".

const CHANNEL = "email";

/** The server's answer. Throws if the server refuses or cannot be reached. */
async function api(method, path, body) {
  const answer = await fetch(process.env.API + path, {
    method,
    headers: { Authorization: `Bearer ${process.env.API_KEY}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  const result = await answer.json();
  if (!answer.ok) throw new Error(`${result.code}: ${result.title}`);
  return result;
}

/** Your own mail system. */
function sendEmail(text) {
  console.log("sent:", text);
}

const [connection, purpose, text] = process.argv.slice(2);
// No answer from the server means no e-mail: the check throws.
const verdict = await api("POST", "/check", { connection, purpose, channel: CHANNEL });
if (verdict.decision === "allow") {
  sendEmail(text);
  // It counts against the customer's budgets, and both of you have it on record.
  await api("POST", `/connections/${connection}/contacts`, { channel: CHANNEL, purpose });
} else {
  console.log(`${verdict.decision}: ${verdict.why}`);
  process.exitCode = 1;
}
