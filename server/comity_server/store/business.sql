-- What is asked of the store for the business side, in SQL that SQLite and PostgreSQL both speak. The marks behind the
-- names are those of queries.sql.


-- ---- signing keys that are kept here -------------------------------------------------------------------------------

-- name: put_kept_key(name, kid, sealed, added_at)*!
-- Sealed anew under another master key, it keeps its age.
INSERT INTO kept_keys (name, kid, sealed, added_at) VALUES (:name, :kid, :sealed, :added_at)
ON CONFLICT (name, kid) DO UPDATE SET sealed = excluded.sealed;

-- name: kept_since(name, kid)$
SELECT added_at FROM kept_keys WHERE name = :name AND kid = :kid;

-- name: kept_keys()
SELECT name, kid, sealed, added_at FROM kept_keys ORDER BY name, added_at, kid;


-- ---- API keys and seats --------------------------------------------------------------------------------------------

-- name: put_api_key(name, id, hash, role, scopes, seat, label, created_at, expires_at, line)*!
INSERT INTO api_keys (name, id, hash, role, scopes, seat, label, created_at, expires_at, last_used_at, line)
VALUES (:name, :id, :hash, :role, :scopes, :seat, :label, :created_at, :expires_at, NULL, :line);

-- name: end_api_key(expires_at, name, id)*!
UPDATE api_keys SET expires_at = :expires_at WHERE name = :name AND id = :id;

-- name: touch_api_key(last_used_at, name, id)*!
UPDATE api_keys SET last_used_at = :last_used_at WHERE name = :name AND id = :id;

-- name: api_keys()
SELECT name, id, hash, role, scopes, seat, label, created_at, expires_at, last_used_at, line
FROM api_keys ORDER BY name, created_at, id;

-- name: put_seat(name, seat, created_at)*!
INSERT INTO seats (name, seat, created_at) VALUES (:name, :seat, :created_at)
ON CONFLICT (name, seat) DO NOTHING;

-- name: seat(name, seat)^
SELECT seat, created_at FROM seats WHERE name = :name AND seat = :seat;

-- name: seats_before(name, created_at, seat, most)
SELECT seat, created_at FROM seats
WHERE name = :name AND (created_at < :created_at OR (created_at = :created_at AND seat < :seat))
ORDER BY created_at DESC, seat DESC LIMIT :most;

-- name: put_seat_secret(name, sealed)*!
-- What a business's seats are made with; made once.
INSERT INTO seat_secrets (name, sealed) VALUES (:name, :sealed);

-- name: seat_secret(name)$
SELECT sealed FROM seat_secrets WHERE name = :name;


-- ---- what is sealed under the master key ---------------------------------------------------------------------------
-- For each kind three questions: under which keys it is sealed (the name of the key is in front), all of it, and to
-- put the same, sealed anew, in its place; only where it still is as it was read, as what was written anew meanwhile
-- was sealed anew.

-- name: seals_of_kept_keys()
SELECT substr(sealed, 1, 8), COUNT(*) FROM kept_keys GROUP BY 1;

-- name: sealed_kept_keys()
SELECT name, kid, sealed FROM kept_keys;

-- name: reseal_kept_key(sealed, name, id, before)*!
UPDATE kept_keys SET sealed = :sealed WHERE name = :name AND kid = :id AND sealed = :before;

-- name: seals_of_seat_secrets()
SELECT substr(sealed, 1, 8), COUNT(*) FROM seat_secrets GROUP BY 1;

-- name: sealed_seat_secrets()
SELECT name, name, sealed FROM seat_secrets;

-- name: reseal_seat_secret(sealed, name, before)*!
UPDATE seat_secrets SET sealed = :sealed WHERE name = :name AND sealed = :before;

-- name: seals_of_drafts()
SELECT substr(sealed, 1, 8), COUNT(*) FROM drafts GROUP BY 1;

-- name: sealed_drafts()
SELECT name, id, sealed FROM drafts;

-- name: reseal_draft(sealed, name, id, before)*!
UPDATE drafts SET sealed = :sealed WHERE name = :name AND id = :id AND sealed = :before;

-- name: seals_of_webhooks()
SELECT substr(sealed, 1, 8), COUNT(*) FROM webhooks GROUP BY 1;

-- name: sealed_webhooks()
SELECT name, id, sealed FROM webhooks;

-- name: reseal_webhook(sealed, name, id, before)*!
UPDATE webhooks SET sealed = :sealed WHERE name = :name AND id = :id AND sealed = :before;

-- name: put_master_check(value)*!
-- By what the store knows its master key.
INSERT INTO meta (name, value) VALUES ('master_check', :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;


-- ---- what was done, and by whom ------------------------------------------------------------------------------------

-- name: put_doing(cid, act, key_id, seat)*!
-- By which key and seat an act was done; an act sent again stays with who did it first.
INSERT INTO doings (cid, act, key_id, seat) VALUES (:cid, :act, :key_id, :seat)
ON CONFLICT (cid, act) DO NOTHING;

-- name: doings_of(cid)
SELECT act, key_id, seat FROM doings WHERE cid = :cid;

-- name: put_idempotent(name, line, key, request, status, location, body, at)*!
-- The answer to a request under its key; a new one takes the place of one that is too old to count.
INSERT INTO idempotent (name, line, key, request, status, location, body, at)
VALUES (:name, :line, :key, :request, :status, :location, :body, :at)
ON CONFLICT (name, line, key) DO UPDATE SET request = excluded.request, status = excluded.status,
  location = excluded.location, body = excluded.body, at = excluded.at;

-- name: get_idempotent(name, line, key)^
SELECT request, status, location, body, at FROM idempotent WHERE name = :name AND line = :line AND key = :key;

-- name: put_count(name, day, what, n)*!
-- So many more of that on that day.
INSERT INTO counts (name, day, what, n) VALUES (:name, :day, :what, :n)
ON CONFLICT (name, day, what) DO UPDATE SET n = counts.n + excluded.n;

-- name: counts_since(name, day)
SELECT day, what, n FROM counts WHERE name = :name AND day >= :day ORDER BY day, what;


-- ---- connections and offers of a business --------------------------------------------------------------------------

-- name: put_relation(cid, name, side, offer, opened_at)*!
-- That a hosted business is a side of the connection, and the offer that it came from.
INSERT INTO relations (cid, name, side, offer, opened_at) VALUES (:cid, :name, :side, :offer, :opened_at);

-- name: note_grant(cid, name, act, replaces)*!
-- The grant by which a business keeps what its offer promised: its first, or one in the place of that.
UPDATE relations SET kept_grant = :act, grant_ended_at = NULL
WHERE cid = :cid AND name = :name
  AND (kept_grant IS NULL OR grant_ended_at IS NOT NULL OR kept_grant = :replaces);

-- name: end_grant(cid, name, act, at)*!
-- The business took that grant back.
UPDATE relations SET grant_ended_at = :at
WHERE cid = :cid AND name = :name AND kept_grant = :act AND grant_ended_at IS NULL;

-- name: count_promises_kept(name, offer, stands_for, most)^
-- Of the connections that came from an offer, as far as they are counted: those in which the business gave a grant and
-- did not take it back too early.
SELECT COALESCE(SUM(CASE
  WHEN kept_grant IS NOT NULL AND (grant_ended_at IS NULL OR grant_ended_at >= opened_at + :stands_for) THEN 1
  ELSE 0 END), 0)
FROM (SELECT * FROM relations WHERE name = :name AND offer = :offer LIMIT :most);

-- name: put_notice(name, id, kind, raw, log, index, added_at, counts)*!
-- A notice of a business; `counts` is 1 but for one that ends an earlier one.
INSERT INTO notices (name, id, kind, raw, log, idx, added_at, counts)
VALUES (:name, :id, :kind, :raw, :log, :index, :added_at, :counts);

-- name: notices_of(name)
-- All notices of a business, the oldest first.
SELECT id, kind, raw, log, idx, added_at, counts FROM notices WHERE name = :name ORDER BY added_at, idx;

-- name: newest_notices()
-- Of each business and kind the last notice.
SELECT name, raw FROM notices AS n
WHERE NOT EXISTS (
  SELECT 1 FROM notices AS later
  WHERE later.name = n.name AND later.kind = n.kind
    AND (later.added_at > n.added_at OR (later.added_at = n.added_at AND later.idx > n.idx))
);

-- name: notices_since(name, since)^
-- How many notices of a business count, and when the first of them was published.
SELECT COUNT(*), MIN(added_at) FROM notices WHERE name = :name AND counts = 1 AND added_at > :since;

-- name: all_notices()
SELECT n.name, n.id, n.kind, n.raw, n.log, n.idx, n.added_at, b.did
FROM notices n LEFT JOIN businesses b ON b.name = n.name
ORDER BY n.name, n.added_at, n.idx;

-- name: relations_after(name, opened_at, cid, most)
-- Connections of a business, the oldest first.
SELECT cid, side, opened_at FROM relations
WHERE name = :name AND (opened_at > :opened_at OR (opened_at = :opened_at AND cid > :cid))
ORDER BY opened_at, cid LIMIT :most;

-- name: get_relation(cid, name)^
SELECT side, offer, opened_at FROM relations WHERE cid = :cid AND name = :name;

-- name: connections_before(name, at, cid, least, most)
-- The connections of a business that opened before a place, the newest first. Here and below the range is told twice:
-- the first bound is what an index is searched by, the second leaves out what stands at the very same time.
SELECT r.cid, r.side, r.offer, r.opened_at, c.state
FROM relations r JOIN connections c ON c.cid = r.cid
WHERE r.name = :name AND r.opened_at <= :at AND (r.opened_at < :at OR r.cid < :cid) AND r.opened_at >= :least
ORDER BY r.opened_at DESC, r.cid DESC LIMIT :most;

-- name: connections_after(name, at, cid, below, most)
-- Those that opened after it, the oldest first.
SELECT r.cid, r.side, r.offer, r.opened_at, c.state
FROM relations r JOIN connections c ON c.cid = r.cid
WHERE r.name = :name AND r.opened_at >= :at AND (r.opened_at > :at OR r.cid > :cid) AND r.opened_at < :below
ORDER BY r.opened_at, r.cid LIMIT :most;

-- name: connections_of_offer_before(name, offer, at, cid, least, most)
SELECT r.cid, r.side, r.offer, r.opened_at, c.state
FROM relations r JOIN connections c ON c.cid = r.cid
WHERE r.name = :name AND r.offer = :offer
  AND r.opened_at <= :at AND (r.opened_at < :at OR r.cid < :cid) AND r.opened_at >= :least
ORDER BY r.opened_at DESC, r.cid DESC LIMIT :most;

-- name: connections_of_offer_after(name, offer, at, cid, below, most)
SELECT r.cid, r.side, r.offer, r.opened_at, c.state
FROM relations r JOIN connections c ON c.cid = r.cid
WHERE r.name = :name AND r.offer = :offer
  AND r.opened_at >= :at AND (r.opened_at > :at OR r.cid > :cid) AND r.opened_at < :below
ORDER BY r.opened_at, r.cid LIMIT :most;

-- name: count_relations(name, offer, most)^
-- (opened, and of those ended) of the connections that came from an offer, as far as they are counted.
SELECT COUNT(*), COALESCE(SUM(CASE WHEN c.phase = 'ended' THEN 1 ELSE 0 END), 0)
FROM (SELECT cid FROM relations WHERE name = :name AND offer = :offer LIMIT :most) AS r
JOIN connections c ON c.cid = r.cid;

-- name: put_contest(name, at, act, cid)*!
-- That somebody contested a message of a hosted business.
INSERT INTO contests (name, at, act, cid) VALUES (:name, :at, :act, :cid) ON CONFLICT (name, at, act) DO NOTHING;

-- name: contests_before(name, at, act, most)
-- Contests against a business, the newest first, with the text of each and the state of its connection.
SELECT k.cid, k.act, k.at, a.raw, c.state
FROM contests k JOIN acts a ON a.cid = k.cid AND a.id = k.act JOIN connections c ON c.cid = k.cid
WHERE k.name = :name AND k.at <= :at AND (k.at < :at OR k.act < :act)
ORDER BY k.at DESC, k.act DESC LIMIT :most;

-- name: put_business_offer(name, short, label, countersign, uses, created_at)*!
-- What a business knows of its offer beside the offer's text.
INSERT INTO business_offers (name, short, label, countersign, uses, created_at)
VALUES (:name, :short, :label, :countersign, :uses, :created_at)
ON CONFLICT (name, short) DO NOTHING;

-- name: end_offer(expires_at, short)*!
-- End an offer before its time.
UPDATE offers SET expires_at = :expires_at WHERE short = :short AND expires_at > :expires_at;

-- name: get_business_offer(name, short)^
SELECT b.short, b.label, b.countersign, b.created_at, o.hash, o.uses, o.expires_at, o.used_at
FROM business_offers b JOIN offers o ON o.short = b.short
WHERE b.name = :name AND b.short = :short;

-- name: business_offers_before(name, at, short, most)
-- The offers of a business that were published before a place, the newest first.
SELECT b.short, b.label, b.countersign, b.created_at, o.hash, o.uses, o.expires_at, o.used_at
FROM business_offers b JOIN offers o ON o.short = b.short
WHERE b.name = :name AND b.created_at <= :at AND (b.created_at < :at OR b.short < :short)
ORDER BY b.created_at DESC, b.short DESC LIMIT :most;

-- name: invites_since(name, since)^
-- How many offers for one use a business has published since, and when the first of them.
SELECT COUNT(*), MIN(created_at) FROM business_offers WHERE name = :name AND uses = 'one' AND created_at > :since;

-- name: count_waiting(offer, first_did, now)^
-- How many halves wait for an offer, how many of those with other terms than it has, and how many gave way to them.
SELECT COUNT(CASE WHEN phase = 'waiting' THEN 1 END),
       COUNT(CASE WHEN phase = 'waiting' AND alternative = 1 THEN 1 END),
       COUNT(CASE WHEN phase = 'replaced' THEN 1 END)
FROM proposals
WHERE offer = :offer AND first_did = :first_did
  AND (phase = 'replaced' OR (phase = 'waiting' AND countersign_by > :now));

-- name: proposals_waiting(first_did, now, at, cid, most)
-- The halves that wait for an offerer and can still be made whole, the newest first.
SELECT p.cid, p.offer, p.second_did, p.raw, p.countersign_by, p.created_at
FROM proposals p JOIN offers o ON o.short = p.offer
WHERE p.first_did = :first_did AND p.phase = 'waiting' AND p.countersign_by > :now AND o.used_at IS NULL
  AND p.created_at <= :at AND (p.created_at < :at OR p.cid < :cid)
ORDER BY p.created_at DESC, p.cid DESC LIMIT :most;

-- name: history_after(cid, at, most)
-- What happened in a connection after a time, the oldest first; settings are their owner's and no part of it.
SELECT accepted_at, 'accepted', id, raw, event FROM acts
WHERE cid = :cid AND chain = 'acts' AND accepted_at > :at
UNION ALL
SELECT at, kind, act, NULL, raw FROM events WHERE cid = :cid AND at > :at
ORDER BY 1 LIMIT :most;

-- name: history_before(cid, at, most)
-- The same before a time, the newest first.
SELECT accepted_at, 'accepted', id, raw, event FROM acts
WHERE cid = :cid AND chain = 'acts' AND accepted_at < :at
UNION ALL
SELECT at, kind, act, NULL, raw FROM events WHERE cid = :cid AND at < :at
ORDER BY 1 DESC LIMIT :most;


-- ---- news ----------------------------------------------------------------------------------------------------------

-- name: last_in_stream(stream)
SELECT MAX(n) FROM inbox WHERE stream = :stream;

-- name: next_in_stream(stream, after)
-- The first row behind a place, and when it was told.
SELECT n, told_at FROM inbox WHERE stream = :stream AND n > :after ORDER BY n LIMIT 1;


-- ---- drafts --------------------------------------------------------------------------------------------------------

-- name: put_draft(name, id, cid, sealed, waits, created_at, updated_at)*!
-- A draft, or another text of one that is there; it keeps its age. While `waits` is 1, it is none yet (SAY-6).
INSERT INTO drafts (name, id, cid, sealed, waits, created_at, updated_at)
VALUES (:name, :id, :cid, :sealed, :waits, :created_at, :updated_at)
ON CONFLICT (name, id) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at;

-- name: drop_draft(name, id)*!
DELETE FROM drafts WHERE name = :name AND id = :id;

-- name: drop_waiting_text(name, id)*!
-- Its message was delivered, or replaced.
DELETE FROM drafts WHERE name = :name AND id = :id AND waits = 1;

-- name: hand_text_back(name, id, at)*!
-- Its message will never arrive: it is a draft from now on.
UPDATE drafts SET waits = 0, created_at = :at, updated_at = :at WHERE name = :name AND id = :id AND waits = 1;

-- name: get_draft(name, id)^
SELECT name, id, cid, sealed, created_at, updated_at FROM drafts WHERE name = :name AND id = :id AND waits = 0;

-- name: count_drafts(name, since)$
SELECT COUNT(*) FROM drafts WHERE name = :name AND updated_at > :since AND waits = 0;

-- name: count_waiting_texts(name)$
SELECT COUNT(*) FROM drafts WHERE name = :name AND waits = 1;

-- name: drafts_before(name, at, id, since, most)
-- The newest first, from a place on.
SELECT name, id, cid, sealed, created_at, updated_at FROM drafts
WHERE name = :name AND created_at <= :at AND (created_at < :at OR id < :id) AND updated_at > :since AND waits = 0
ORDER BY created_at DESC, id DESC LIMIT :most;


-- ---- webhooks ------------------------------------------------------------------------------------------------------

-- name: put_webhook(name, id, url, types, enabled, sealed, after, created_at)*!
-- An endpoint as the business set it up; set up anew, it keeps its age. `after` is the last row of news before it.
INSERT INTO webhooks (name, id, url, types, enabled, sealed, after, created_at)
VALUES (:name, :id, :url, :types, :enabled, :sealed, :after, :created_at)
ON CONFLICT (name, id) DO UPDATE
SET url = excluded.url, types = excluded.types, enabled = excluded.enabled, sealed = excluded.sealed;

-- name: end_webhook(name, id)*!
DELETE FROM webhooks WHERE name = :name AND id = :id;

-- name: webhooks_of(name)
SELECT w.name, b.did, w.id, w.url, w.types, w.enabled, w.sealed, w.after, w.created_at
FROM webhooks w JOIN businesses b ON b.name = w.name
WHERE w.name = :name ORDER BY w.created_at DESC, w.id DESC;

-- name: all_webhooks()
SELECT w.name, b.did, w.id, w.url, w.types, w.enabled, w.sealed, w.after, w.created_at
FROM webhooks w JOIN businesses b ON b.name = w.name
ORDER BY w.name, w.created_at, w.id;

-- name: streams_with_webhooks()
SELECT DISTINCT b.did FROM webhooks w JOIN businesses b ON b.name = w.name;


-- ---- what is owed after the end --------------------------------------------------------------------------------------

-- name: put_duty(cid, name, due_at, ended_by, done_at, statement)*!
-- What a business owes once a connection has ended, or what it said last.
INSERT INTO duties (cid, name, due_at, ended_by, done_at, statement)
VALUES (:cid, :name, :due_at, :ended_by, :done_at, :statement)
ON CONFLICT (cid, name) DO UPDATE SET done_at = excluded.done_at, statement = excluded.statement;

-- name: duties_before(name, at, cid, most)
-- The duties of a business before a place, those first that are due last, each with its newest statement.
SELECT d.cid, d.due_at, d.ended_by, d.done_at, d.statement, a.raw, a.accepted_at
FROM duties d LEFT JOIN acts a ON a.cid = d.cid AND a.id = d.statement
WHERE d.name = :name AND d.due_at <= :at AND (d.due_at < :at OR d.cid < :cid)
ORDER BY d.due_at DESC, d.cid DESC LIMIT :most;

-- name: duties_open_before(name, at, cid, most)
SELECT d.cid, d.due_at, d.ended_by, d.done_at, d.statement, NULL, NULL
FROM duties d
WHERE d.name = :name AND d.done_at IS NULL AND d.due_at <= :at AND (d.due_at < :at OR d.cid < :cid)
ORDER BY d.due_at DESC, d.cid DESC LIMIT :most;

-- name: duties_done_before(name, at, cid, most)
SELECT d.cid, d.due_at, d.ended_by, d.done_at, d.statement, a.raw, a.accepted_at
FROM duties d LEFT JOIN acts a ON a.cid = d.cid AND a.id = d.statement
WHERE d.name = :name AND d.done_at IS NOT NULL AND d.due_at <= :at AND (d.due_at < :at OR d.cid < :cid)
ORDER BY d.due_at DESC, d.cid DESC LIMIT :most;

-- name: duties_after(name, at, cid, most)
-- The same after a place, those first that are due first.
SELECT d.cid, d.due_at, d.ended_by, d.done_at, d.statement, a.raw, a.accepted_at
FROM duties d LEFT JOIN acts a ON a.cid = d.cid AND a.id = d.statement
WHERE d.name = :name AND d.due_at >= :at AND (d.due_at > :at OR d.cid > :cid)
ORDER BY d.due_at, d.cid LIMIT :most;

-- name: duties_open_after(name, at, cid, most)
SELECT d.cid, d.due_at, d.ended_by, d.done_at, d.statement, NULL, NULL
FROM duties d
WHERE d.name = :name AND d.done_at IS NULL AND d.due_at >= :at AND (d.due_at > :at OR d.cid > :cid)
ORDER BY d.due_at, d.cid LIMIT :most;

-- name: duties_done_after(name, at, cid, most)
SELECT d.cid, d.due_at, d.ended_by, d.done_at, d.statement, a.raw, a.accepted_at
FROM duties d LEFT JOIN acts a ON a.cid = d.cid AND a.id = d.statement
WHERE d.name = :name AND d.done_at IS NOT NULL AND d.due_at >= :at AND (d.due_at > :at OR d.cid > :cid)
ORDER BY d.due_at, d.cid LIMIT :most;

-- name: duties_of(cid)
SELECT name, due_at, ended_by, done_at, statement FROM duties WHERE cid = :cid ORDER BY name;

-- name: business_called(did)$
SELECT name FROM businesses WHERE did = :did;
