-- Everything that is asked of the store, in SQL that SQLite and PostgreSQL both speak.
-- Names with `*!` run once for each row of a batch, `^` give one row, `$` one value, no mark gives rows.


-- ---- connections ---------------------------------------------------------------------------------------------------

-- name: put_connection(cid, state, at, phase, wake_at)*!
-- The whole state of a connection, with what is searched for beside it.
INSERT INTO connections (cid, state, at, phase, wake_at)
VALUES (:cid, :state, :at, :phase, :wake_at)
ON CONFLICT (cid) DO UPDATE
SET state = excluded.state, at = excluded.at, phase = excluded.phase, wake_at = excluded.wake_at;

-- name: get_state(cid)$
SELECT state FROM connections WHERE cid = :cid;

-- name: due_connections(now, most)
-- Those in which time alone changes something by now, the longest waiting first.
SELECT cid FROM connections WHERE wake_at <= :now ORDER BY wake_at LIMIT :most;

-- name: next_wake()$
SELECT MIN(wake_at) FROM connections WHERE wake_at IS NOT NULL;

-- name: put_side(cid, side, did, stream)*!
-- Which stream the party with this name reads: the name it began with, whatever keys it took since.
INSERT INTO sides (cid, side, did, stream)
VALUES (:cid, :side, :did, :stream)
ON CONFLICT (cid, side) DO UPDATE SET did = excluded.did, stream = excluded.stream;

-- name: stream_of(did)$
SELECT stream FROM sides WHERE did = :did LIMIT 1;

-- name: renamed(did)$
-- The later name of a party that began under this one.
SELECT did FROM sides WHERE stream = :did AND did <> :did LIMIT 1;


-- ---- acts and events -----------------------------------------------------------------------------------------------

-- name: put_act(cid, id, side, chain, seq, raw, salt, accepted_at, idx, event)*!
-- The bytes as they came, the salt that will hide them in a log, and the signed acceptance.
INSERT INTO acts (cid, id, side, chain, seq, raw, salt, accepted_at, idx, event)
VALUES (:cid, :id, :side, :chain, :seq, :raw, :salt, :accepted_at, :idx, :event);

-- name: get_acceptance(id)$
-- The first answer to an act.
SELECT event FROM acts WHERE id = :id;

-- name: get_act(id)^
-- `delivered` is the time of the event that let a held message go, if one did.
SELECT acts.cid, acts.side, acts.chain, acts.raw, acts.event,
       (SELECT MIN(events.at) FROM events
        WHERE events.cid = acts.cid AND events.act = acts.id AND events.kind = 'delivered') AS delivered
FROM acts WHERE acts.id = :id;

-- name: put_event(cid, at, kind, act, raw)*!
-- What the server states about a connection, other than acceptances.
INSERT INTO events (cid, at, kind, act, raw) VALUES (:cid, :at, :kind, :act, :raw);


-- ---- offers and agreements -----------------------------------------------------------------------------------------

-- name: put_offer(short, hash, iss, raw, expires_at, uses)*!
INSERT INTO offers (short, hash, iss, raw, expires_at, uses, used_at)
VALUES (:short, :hash, :iss, :raw, :expires_at, :uses, NULL)
ON CONFLICT (short) DO NOTHING;

-- name: use_offer(used_at, short)*!
UPDATE offers SET used_at = :used_at WHERE short = :short;

-- name: get_offer(short)^
SELECT short, hash, iss, raw, expires_at, uses, used_at FROM offers WHERE short = :short;

-- name: count_offers(iss, now)$
SELECT COUNT(*) FROM offers WHERE iss = :iss AND expires_at > :now AND used_at IS NULL;

-- name: put_proposal(cid, offer, first_did, second_did, raw, countersign_by)*!
INSERT INTO proposals (cid, offer, first_did, second_did, raw, countersign_by, phase, ended_by, reason)
VALUES (:cid, :offer, :first_did, :second_did, :raw, :countersign_by, 'waiting', NULL, NULL);

-- name: end_proposal(phase, ended_by, reason, cid)*!
UPDATE proposals SET phase = :phase, ended_by = :ended_by, reason = :reason WHERE cid = :cid;

-- name: get_proposal(cid)^
SELECT cid, offer, first_did, second_did, raw, countersign_by, phase, ended_by
FROM proposals WHERE cid = :cid;

-- name: proposals_of_offer(offer, now, second_did, most)
-- Those of one offer that still count at a time: waiting ones, and what this accepter proposed and was declined, or,
-- declined in silence, must seem to wait until its time is over.
SELECT cid, second_did, phase FROM proposals
WHERE offer = :offer
  AND ((phase = 'waiting' AND countersign_by > :now)
       OR (second_did = :second_did AND (phase = 'declined' OR (phase = 'silenced' AND countersign_by > :now))))
LIMIT :most;

-- name: put_agreement(cid, raw, opened)*!
INSERT INTO agreements (cid, raw, opened) VALUES (:cid, :raw, :opened);

-- name: get_agreement(cid)^
SELECT raw, opened FROM agreements WHERE cid = :cid;


-- ---- news ----------------------------------------------------------------------------------------------------------

-- name: put_news(stream, n, kind, cid, act, shown, at)*!
-- `act` names an act or an offer, `at` an event; `shown` says whether the act itself comes along.
INSERT INTO inbox (stream, n, kind, cid, act, shown, at)
VALUES (:stream, :n, :kind, :cid, :act, :shown, :at);

-- name: news_after(stream, after, most)
SELECT i.n, i.kind, i.cid, i.shown, a.raw AS act, a.event AS acceptance, e.raw AS event,
       g.raw AS agreement, p.raw AS half, p.reason, o.raw AS offer
FROM inbox i
LEFT JOIN acts a ON a.cid = i.cid AND a.id = i.act
LEFT JOIN events e ON e.cid = i.cid AND e.at = i.at
LEFT JOIN agreements g ON i.kind = 'opened' AND g.cid = i.cid
LEFT JOIN proposals p ON i.kind IN ('proposal', 'declined') AND p.cid = i.cid
LEFT JOIN offers o ON i.kind = 'offer' AND o.hash = i.act
WHERE i.stream = :stream AND i.n > :after
ORDER BY i.n LIMIT :most;


-- ---- status lists --------------------------------------------------------------------------------------------------

-- name: reserve_index(list_no, idx, cid, side, reserved_at)*!
INSERT INTO status_entries (list_no, idx, cid, side, reserved_at, grant_id, ended, muted_until, expires_at)
VALUES (:list_no, :idx, :cid, :side, :reserved_at, NULL, 1, 0, 0);

-- name: put_status(grant_id, ended, muted_until, expires_at, list_no, idx)*!
UPDATE status_entries
SET grant_id = :grant_id, ended = :ended, muted_until = :muted_until, expires_at = :expires_at
WHERE list_no = :list_no AND idx = :idx;

-- name: get_reservation(list_no, idx)^
SELECT cid, side, grant_id FROM status_entries WHERE list_no = :list_no AND idx = :idx;

-- name: count_reserved(cid, side, since)$
SELECT COUNT(*) FROM status_entries
WHERE cid = :cid AND side = :side AND grant_id IS NULL AND reserved_at > :since;

-- name: entries_of_list(list_no)
SELECT idx, ended, muted_until, expires_at FROM status_entries WHERE list_no = :list_no;

-- name: count_lists()$
SELECT MAX(list_no) FROM status_entries;


-- ---- businesses ----------------------------------------------------------------------------------------------------

-- name: put_business(name, did, created_at)*!
-- Two who make one business at the same time make the same row.
INSERT INTO businesses (name, did, created_at) VALUES (:name, :did, :created_at)
ON CONFLICT (name) DO NOTHING;

-- name: put_business_key(name, kid, multibase, added_at)*!
INSERT INTO business_keys (name, kid, multibase, added_at) VALUES (:name, :kid, :multibase, :added_at)
ON CONFLICT (name, kid) DO NOTHING;

-- name: business_keys()
SELECT b.name, b.did, k.kid, k.multibase
FROM businesses b JOIN business_keys k ON k.name = b.name
ORDER BY b.name, k.added_at, k.kid;


-- ---- what the server remembers of itself ---------------------------------------------------------------------------

-- name: put_meta(name, value)*!
INSERT INTO meta (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: all_meta()
SELECT name, value FROM meta;
