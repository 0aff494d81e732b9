-- Everything that is asked of the store, in SQL that SQLite and PostgreSQL both speak.
-- Names with `*!` run once for each row of a batch, `^` give one row, `$` one value, no mark gives rows.


-- ---- connections ---------------------------------------------------------------------------------------------------

-- name: put_connection(cid, state, at, phase, wake_at, tag_secret)*!
-- The whole state of a connection, with what is searched for beside it, and what its tags in the log are made of.
INSERT INTO connections (cid, state, at, phase, wake_at, tag_secret)
VALUES (:cid, :state, :at, :phase, :wake_at, :tag_secret)
ON CONFLICT (cid) DO UPDATE
SET state = excluded.state, at = excluded.at, phase = excluded.phase, wake_at = excluded.wake_at;

-- name: get_state(cid)^
SELECT state, tag_secret FROM connections WHERE cid = :cid;

-- name: due_connections(now, most)
-- Those in which time alone changes something by now, the longest waiting first.
SELECT cid FROM connections WHERE wake_at <= :now ORDER BY wake_at LIMIT :most;

-- name: next_wake()$
SELECT MIN(wake_at) FROM connections WHERE wake_at IS NOT NULL;

-- name: open_connections(after, most)
-- Those that have not ended, in the order of their ids.
SELECT cid FROM connections WHERE phase = 'open' AND cid > :after ORDER BY cid LIMIT :most;

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

-- name: put_act(cid, id, side, chain, seq, raw, accepted_at, event)*!
-- The bytes as they came, and the signed acceptance.
INSERT INTO acts (cid, id, side, chain, seq, raw, accepted_at, event)
VALUES (:cid, :id, :side, :chain, :seq, :raw, :accepted_at, :event);

-- name: fill_act(cid, id, raw)*!
-- The text of a message whose acceptance was taken back alone.
UPDATE acts SET raw = :raw WHERE cid = :cid AND id = :id AND raw = '';

-- name: get_acceptance(id)$
-- The first answer to an act.
SELECT event FROM acts WHERE id = :id;

-- name: get_act(id)^
-- `delivered` is the event that let a held message go, if one did.
SELECT acts.cid, acts.side, acts.chain, acts.raw, acts.event,
       (SELECT MIN(events.raw) FROM events
        WHERE events.cid = acts.cid AND events.act = acts.id AND events.kind = 'delivered') AS delivered
FROM acts WHERE acts.id = :id;

-- name: get_mute_over(cid, act)$
-- What was stated of a mute that was over.
SELECT raw FROM events WHERE cid = :cid AND act = :act AND kind = 'mute_over';

-- name: get_raw(cid, id)^
-- An act as it came.
SELECT raw FROM acts WHERE cid = :cid AND id = :id;

-- name: put_event(cid, at, kind, act, raw)*!
-- What the server states about a connection, other than acceptances.
INSERT INTO events (cid, at, kind, act, raw) VALUES (:cid, :at, :kind, :act, :raw);

-- name: get_event(cid, at)$
-- What was stated at a time, other than an acceptance.
SELECT raw FROM events WHERE cid = :cid AND at = :at;


-- ---- logs ----------------------------------------------------------------------------------------------------------

-- name: put_entry(log, idx, cid, act, at, salt, entry)*!
-- An entry, and what opens its commitment. `act` names an act, or, where there is no connection, a business's key.
INSERT INTO entries (log, idx, cid, act, at, salt, entry, erased)
VALUES (:log, :idx, :cid, :act, :at, :salt, :entry, 0);

-- name: put_tile(log, level, number, hashes)*!
-- A tile; the last one of a level grows until it is full.
INSERT INTO tiles (log, level, number, hashes) VALUES (:log, :level, :number, :hashes)
ON CONFLICT (log, level, number) DO UPDATE SET hashes = excluded.hashes;

-- name: swap_head(size, root, at, log, size_before, term)*!
-- The head of a log, moved on by whoever holds its term and knows where it stands; nobody else moves it.
UPDATE heads SET size = :size, root = :root, at = :at WHERE log = :log AND size = :size_before AND term = :term;

-- name: put_head(log, root)*!
-- The head of a log that begins.
INSERT INTO heads (log, size, root, at, term, ended) VALUES (:log, 0, :root, 0, 0, 0) ON CONFLICT (log) DO NOTHING;

-- name: take_term(term, log, term_before)*!
-- Become the one who moves the head.
UPDATE heads SET term = :term WHERE log = :log AND term = :term_before;

-- name: get_head(log)^
SELECT size, root, at, term FROM heads WHERE log = :log;

-- name: all_logs()
SELECT log, ended FROM heads ORDER BY log;

-- name: end_logs(but)*!
UPDATE heads SET ended = 1 WHERE log <> :but;

-- name: get_tile(log, level, number)$
SELECT hashes FROM tiles WHERE log = :log AND level = :level AND number = :number;

-- name: entries_from(log, first, most)
SELECT idx, entry FROM entries WHERE log = :log AND idx >= :first ORDER BY idx LIMIT :most;

-- name: get_opening(log, idx)^
SELECT entry, salt, at FROM entries WHERE log = :log AND idx = :idx AND erased = 0;

-- name: logged_from(log, first, most)
-- Entries with the acts that they commit to. Of a connection that was erased there is neither act nor salt.
SELECT e.idx, e.cid, e.act, e.at, e.salt, e.entry, e.erased, a.raw
FROM entries e LEFT JOIN acts a ON a.cid = e.cid AND a.id = e.act
WHERE e.log = :log AND e.idx >= :first
ORDER BY e.idx LIMIT :most;

-- name: get_statement(log, idx)$
-- What an entry about a public name commits to: a key of a business or of the home server, or a notice.
SELECT statement FROM business_keys WHERE log = :log AND idx = :idx
UNION ALL SELECT raw FROM notices WHERE log = :log AND idx = :idx
UNION ALL
SELECT s.statement FROM home_places p JOIN home_statements s ON s.n = p.n WHERE p.log = :log AND p.idx = :idx;


-- ---- offers and agreements -----------------------------------------------------------------------------------------

-- name: put_offer(short, hash, iss, raw, expires_at, good_until, uses)*!
-- `good_until` is the end that its text names; `expires_at` comes earlier where the offerer ends it.
INSERT INTO offers (short, hash, iss, raw, expires_at, good_until, uses, used_at)
VALUES (:short, :hash, :iss, :raw, :expires_at, :good_until, :uses, NULL)
ON CONFLICT (short) DO NOTHING;

-- name: use_offer(used_at, short)*!
UPDATE offers SET used_at = :used_at WHERE short = :short;

-- name: get_offer(short)^
SELECT short, hash, iss, raw, expires_at, good_until, uses, used_at FROM offers WHERE short = :short;

-- name: count_offers(iss, now)$
SELECT COUNT(*) FROM offers WHERE iss = :iss AND expires_at > :now AND used_at IS NULL;

-- name: put_proposal(cid, offer, first_did, second_did, raw, countersign_by, alternative, created_at)*!
-- `alternative` is 1 where the accepter put other terms in the place of those offered.
INSERT INTO proposals (cid, offer, first_did, second_did, raw, countersign_by, phase, alternative, created_at,
                       ended_at, ended_by, reason)
VALUES (:cid, :offer, :first_did, :second_did, :raw, :countersign_by, 'waiting', :alternative, :created_at,
        NULL, NULL, NULL);

-- name: end_proposal(phase, ended_at, ended_by, reason, cid)*!
UPDATE proposals SET phase = :phase, ended_at = :ended_at, ended_by = :ended_by, reason = :reason WHERE cid = :cid;

-- name: waiting_proposals(most)
SELECT cid, first_did, second_did FROM proposals WHERE phase = 'waiting' ORDER BY cid LIMIT :most;

-- name: get_proposal(cid)^
SELECT cid, offer, first_did, second_did, raw, countersign_by, alternative, created_at, phase, ended_by
FROM proposals WHERE cid = :cid;

-- name: proposals_of_accepter(offer, second_did, now)
-- Those of one accepter on an offer that still count at a time: what waits, what was declined, and what was declined in
-- silence, which must seem to wait until its time is over.
SELECT cid, second_did, phase FROM proposals
WHERE offer = :offer AND second_did = :second_did
  AND (phase = 'declined' OR (phase IN ('waiting', 'silenced') AND countersign_by > :now));

-- name: halves_waiting(offer, now, most)
-- What waits for an offer, those first that give way first: other terms than those offered, and of these the oldest.
SELECT cid, second_did, alternative FROM proposals
WHERE offer = :offer AND phase = 'waiting' AND countersign_by > :now
ORDER BY alternative DESC, created_at, cid LIMIT :most;

-- name: put_agreement(cid, raw, opened)*!
INSERT INTO agreements (cid, raw, opened) VALUES (:cid, :raw, :opened);

-- name: get_agreement(cid)^
SELECT raw, opened FROM agreements WHERE cid = :cid;


-- ---- news ----------------------------------------------------------------------------------------------------------

-- name: put_news(stream, n, kind, cid, act, shown, at, told_at, quiet)*!
-- `act` names an act or an offer, `at` an event; `shown` says whether the act itself comes along. `told_at` is the
-- clock's time, which grows with `n`; 0 in rows from before it was written down. `quiet` is 1 where no notification
-- is made of it.
INSERT INTO inbox (stream, n, kind, cid, act, shown, at, told_at, quiet)
VALUES (:stream, :n, :kind, :cid, :act, :shown, :at, :told_at, :quiet);

-- name: news_after(stream, after, most)
SELECT i.n, i.kind, i.cid, i.shown, a.raw AS act, a.event AS acceptance, e.raw AS event,
       g.raw AS agreement, p.raw AS half, p.reason, o.raw AS offer, s.side, c.tag_secret, i.told_at, i.quiet
FROM inbox i
LEFT JOIN sides s ON i.kind = 'opened' AND s.cid = i.cid AND s.stream = i.stream
LEFT JOIN connections c ON i.kind = 'opened' AND c.cid = i.cid
LEFT JOIN acts a ON a.cid = i.cid AND a.id = i.act
LEFT JOIN events e ON e.cid = i.cid AND e.at = i.at
LEFT JOIN agreements g ON i.kind = 'opened' AND g.cid = i.cid
LEFT JOIN proposals p ON i.kind IN ('proposal', 'declined') AND p.cid = i.cid
LEFT JOIN offers o ON i.kind = 'offer' AND o.hash = i.act
WHERE i.stream = :stream AND i.n > :after
ORDER BY i.n LIMIT :most;

-- name: news_before(stream, before, most)
-- The same rows before a place, the newest first.
SELECT i.n, i.kind, i.cid, i.shown, a.raw AS act, a.event AS acceptance, e.raw AS event,
       g.raw AS agreement, p.raw AS half, p.reason, o.raw AS offer, s.side, c.tag_secret, i.told_at, i.quiet
FROM inbox i
LEFT JOIN sides s ON i.kind = 'opened' AND s.cid = i.cid AND s.stream = i.stream
LEFT JOIN connections c ON i.kind = 'opened' AND c.cid = i.cid
LEFT JOIN acts a ON a.cid = i.cid AND a.id = i.act
LEFT JOIN events e ON e.cid = i.cid AND e.at = i.at
LEFT JOIN agreements g ON i.kind = 'opened' AND g.cid = i.cid
LEFT JOIN proposals p ON i.kind IN ('proposal', 'declined') AND p.cid = i.cid
LEFT JOIN offers o ON i.kind = 'offer' AND o.hash = i.act
WHERE i.stream = :stream AND i.n < :before
ORDER BY i.n DESC LIMIT :most;


-- ---- status lists --------------------------------------------------------------------------------------------------

-- name: reserve_index(list_no, idx, cid, side, reserved_at)*!
-- One that its side did not use may be given to it again.
INSERT INTO status_entries (list_no, idx, cid, side, reserved_at, grant_id, ended, ask_until, expires_at)
VALUES (:list_no, :idx, :cid, :side, :reserved_at, NULL, 1, 0, 0)
ON CONFLICT (list_no, idx) DO UPDATE SET reserved_at = excluded.reserved_at;

-- name: take_index(list_no, idx, cid, side, reserved_at, grant_id, expires_at)*!
-- The index of a grant that was taken back; it was reserved before what is stored, or since.
INSERT INTO status_entries (list_no, idx, cid, side, reserved_at, grant_id, ended, ask_until, expires_at)
VALUES (:list_no, :idx, :cid, :side, :reserved_at, :grant_id, 1, 0, :expires_at)
ON CONFLICT (list_no, idx) DO UPDATE SET grant_id = excluded.grant_id, expires_at = excluded.expires_at
WHERE status_entries.cid = excluded.cid AND status_entries.side = excluded.side;

-- name: put_status(grant_id, ended, ask_until, expires_at, list_no, idx)*!
UPDATE status_entries
SET grant_id = :grant_id, ended = :ended, ask_until = :ask_until, expires_at = :expires_at
WHERE list_no = :list_no AND idx = :idx;

-- name: get_reservation(list_no, idx)^
SELECT cid, side, grant_id FROM status_entries WHERE list_no = :list_no AND idx = :idx;

-- name: unused_indexes(cid, side, first)
SELECT list_no, idx, reserved_at FROM status_entries
WHERE cid = :cid AND side = :side AND grant_id IS NULL AND list_no >= :first
ORDER BY reserved_at, list_no, idx;

-- name: entries_of_list(list_no)
SELECT idx, ended, ask_until, expires_at FROM status_entries WHERE list_no = :list_no;

-- name: count_lists()$
SELECT MAX(list_no) FROM status_entries;


-- ---- keys of the home server ---------------------------------------------------------------------------------------

-- name: put_home_statement(n, statement, signed)*!
INSERT INTO home_statements (n, statement, signed) VALUES (:n, :statement, :signed);

-- name: put_home_place(n, log, index)*!
INSERT INTO home_places (n, log, idx) VALUES (:n, :log, :index);

-- name: home_statements()
SELECT n, statement, signed FROM home_statements ORDER BY n;

-- name: home_places()
SELECT n, log, idx FROM home_places ORDER BY n, log, idx;


-- ---- businesses ----------------------------------------------------------------------------------------------------

-- name: put_business(name, did, created_at)*!
INSERT INTO businesses (name, did, created_at) VALUES (:name, :did, :created_at);

-- name: put_business_key(name, kid, multibase, statement, log, index, added_at)*!
-- `statement` is what the entry at `idx` of the log commits to.
INSERT INTO business_keys (name, kid, multibase, statement, log, idx, added_at)
VALUES (:name, :kid, :multibase, :statement, :log, :index, :added_at);

-- name: business_keys()
SELECT b.name, b.did, k.kid, k.multibase
FROM businesses b JOIN business_keys k ON k.name = b.name
ORDER BY b.name, k.added_at, k.kid;

-- name: key_statements(name)
-- What was stated about a business's keys, oldest first, with the place of each in a log.
SELECT statement, log, idx FROM business_keys WHERE name = :name ORDER BY added_at, idx;


-- ---- what the server remembers of itself ---------------------------------------------------------------------------

-- name: put_meta(name, value)*!
INSERT INTO meta (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: all_meta()
SELECT name, value FROM meta;


-- ---- looking through the store (comity fsck) -----------------------------------------------------------------
-- These read whole tables, in an order, row by row; nothing that serves a request uses them.

-- name: next_log_of_heads(log)$
SELECT MIN(log) FROM heads WHERE log > :log;

-- name: next_log_of_entries(log)$
SELECT MIN(log) FROM entries WHERE log > :log;

-- name: next_log_of_tiles(log)$
SELECT MIN(log) FROM tiles WHERE log > :log;

-- name: get_head_of(log)^
SELECT size, root, at FROM heads WHERE log = :log;

-- name: last_entry(log)$
SELECT MAX(idx) FROM entries WHERE log = :log;

-- name: all_entries(log)
SELECT idx, cid, act, at, salt, entry, erased FROM entries WHERE log = :log ORDER BY idx;

-- name: get_entry(log, idx)^
SELECT idx, cid, act, at, salt, entry, erased FROM entries WHERE log = :log AND idx = :idx;

-- name: all_tiles(log)
SELECT level, number FROM tiles WHERE log = :log ORDER BY level, number;

-- name: count_acts()$
SELECT COUNT(*) FROM acts;

-- name: count_connections()$
SELECT COUNT(*) FROM connections;

-- name: all_connections()
SELECT cid, state, at, phase, wake_at, tag_secret FROM connections ORDER BY cid;

-- name: history_of(cid)
-- All that happened in a connection, in the order of its times: acts with their acceptances, and the other events.
SELECT accepted_at, 'accepted', id, side, chain, seq, raw, event FROM acts WHERE cid = :cid
UNION ALL
SELECT at, kind, act, NULL, NULL, NULL, NULL, raw FROM events WHERE cid = :cid
ORDER BY 1;

-- name: records_after(cid, side, after, most)
-- What one side may have of a connection, in the order of its times: no settings of the other side, nor what became of
-- its mutes.
SELECT accepted_at, 'accepted', side, raw, event FROM acts
WHERE cid = :cid AND accepted_at > :after AND (chain = 'acts' OR side = :side)
UNION ALL
SELECT e.at, e.kind, a.side, a.raw, e.raw FROM events e LEFT JOIN acts a ON a.cid = e.cid AND a.id = e.act
WHERE e.cid = :cid AND e.at > :after AND (e.kind <> 'mute_over' OR a.side = :side)
ORDER BY 1 LIMIT :most;

-- name: opened_event(cid, at)$
SELECT raw FROM events WHERE cid = :cid AND at = :at AND kind = 'opened';

-- name: last_restored(cid)$
SELECT MAX(at) FROM events WHERE cid = :cid AND kind = 'restored';

-- name: sides_of(cid)
SELECT side, did, stream FROM sides WHERE cid = :cid;

-- name: status_of(cid)
SELECT list_no, idx, side, grant_id, ended, ask_until, expires_at FROM status_entries
WHERE cid = :cid ORDER BY list_no, idx;

-- name: all_business_keys()
SELECT k.name, k.kid, k.multibase, k.statement, k.log, k.idx, k.added_at, b.did
FROM business_keys k LEFT JOIN businesses b ON b.name = k.name
ORDER BY k.name, k.kid;

-- name: all_offers()
SELECT short, hash, iss, raw, expires_at, good_until, uses FROM offers ORDER BY short;

-- name: all_proposals()
SELECT p.cid, p.offer, p.first_did, p.second_did, p.raw, p.countersign_by, p.phase, c.cid
FROM proposals p LEFT JOIN connections c ON c.cid = p.cid
ORDER BY p.cid;

-- name: last_news()$
SELECT MAX(n) FROM inbox;

-- name: news_of_nothing()
-- News about what is not there.
SELECT i.stream, i.n, i.kind, i.cid FROM inbox i
WHERE i.kind NOT IN ('offer', 'proposal', 'declined', 'opened', 'act', 'event', 'pruned')
   OR (i.kind = 'offer' AND NOT EXISTS (SELECT 1 FROM offers o WHERE o.hash = i.act))
   OR (i.kind IN ('proposal', 'declined') AND NOT EXISTS (SELECT 1 FROM proposals p WHERE p.cid = i.cid))
   OR (i.kind = 'opened' AND NOT EXISTS (SELECT 1 FROM agreements g WHERE g.cid = i.cid))
   OR (i.kind IN ('act', 'event') AND (i.act IS NOT NULL OR i.at IS NULL)
       AND NOT EXISTS (SELECT 1 FROM acts a WHERE a.cid = i.cid AND a.id = i.act))
   OR (i.at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM events e WHERE e.cid = i.cid AND e.at = i.at))
ORDER BY i.stream, i.n;

-- name: keys_and_relations_of_nothing()
-- What is kept for a business that is not there, and relations in which it is not the side that they name.
SELECT 'API key', name, id, 'there is no such business' FROM api_keys k
WHERE NOT EXISTS (SELECT 1 FROM businesses b WHERE b.name = k.name)
UNION ALL
SELECT 'kept key', name, kid, 'the business publishes no such key' FROM kept_keys k
WHERE NOT EXISTS (SELECT 1 FROM business_keys b WHERE b.name = k.name AND b.kid = k.kid)
UNION ALL
SELECT 'relation', name, cid, 'the business is not that side of it' FROM relations r
WHERE NOT EXISTS (
  SELECT 1 FROM sides s JOIN businesses b ON b.did = s.did
  WHERE s.cid = r.cid AND s.side = r.side AND b.name = r.name
);

-- name: strays()
-- Connections that are not there, by the tables that name them, with the first row in each.
SELECT 'act', cid, MIN(id) FROM acts a
WHERE NOT EXISTS (SELECT 1 FROM connections c WHERE c.cid = a.cid) GROUP BY cid
UNION ALL
SELECT 'event', cid, MIN(kind) FROM events e
WHERE NOT EXISTS (SELECT 1 FROM connections c WHERE c.cid = e.cid) GROUP BY cid
UNION ALL
SELECT 'agreement', cid, MIN(cid) FROM agreements g
WHERE NOT EXISTS (SELECT 1 FROM connections c WHERE c.cid = g.cid) GROUP BY cid
UNION ALL
SELECT 'side', cid, MIN(side) FROM sides s
WHERE NOT EXISTS (SELECT 1 FROM connections c WHERE c.cid = s.cid) GROUP BY cid
UNION ALL
SELECT 'status entry', cid, MIN(side) FROM status_entries t
WHERE NOT EXISTS (SELECT 1 FROM connections c WHERE c.cid = t.cid) GROUP BY cid
UNION ALL
SELECT 'relation', cid, MIN(name) FROM relations r
WHERE NOT EXISTS (SELECT 1 FROM connections c WHERE c.cid = r.cid) GROUP BY cid
UNION ALL
SELECT 'contest', cid, MIN(act) FROM contests k
WHERE NOT EXISTS (SELECT 1 FROM acts a WHERE a.cid = k.cid AND a.id = k.act) GROUP BY cid;
