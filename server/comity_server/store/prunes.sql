-- What is pruned, and how (docs: spec/growth.md). For each kind a question for what is old, asked of a connection that
-- only reads, and the statements that delete one row of the answer, by the names of its columns.


-- name: old_idempotent(before, most)
SELECT name, key FROM idempotent WHERE at <= :before ORDER BY at LIMIT :most;

-- name: drop_idempotent(name, key, before)*!
-- Unless it was written anew meanwhile.
DELETE FROM idempotent WHERE name = :name AND key = :key AND at <= :before;

-- name: old_drafts(before, most)
SELECT name, id FROM drafts WHERE updated_at <= :before AND waits = 0 ORDER BY updated_at LIMIT :most;

-- name: drop_old_draft(name, id, before)*!
DELETE FROM drafts WHERE name = :name AND id = :id AND updated_at <= :before AND waits = 0;

-- name: old_proposals(before, most)
-- Halves whose time is long over. One that was declined stays for as long as its offer can be accepted (AGR-6).
SELECT p.cid FROM proposals p
WHERE p.countersign_by <= :before
  AND (p.phase <> 'declined' OR NOT EXISTS (
    SELECT 1 FROM offers o WHERE o.short = p.offer AND o.used_at IS NULL AND o.expires_at > :before
  ))
ORDER BY p.countersign_by LIMIT :most;

-- name: old_replaced(before, most)
-- Halves that gave way to newer ones.
SELECT cid FROM proposals WHERE phase = 'replaced' AND ended_at <= :before ORDER BY ended_at LIMIT :most;

-- name: drop_news_of_half(cid)*!
DELETE FROM inbox WHERE cid = :cid AND kind IN ('proposal', 'declined');

-- name: drop_proposal(cid)*!
DELETE FROM proposals WHERE cid = :cid;

-- name: old_offers(before, most)
-- Offers whose own end is long past. One that was used or ended earlier stays until then: published again, it must not
-- be open again (INV-6).
SELECT o.short, o.hash, b.name FROM offers o
LEFT JOIN businesses b ON b.did = o.iss
WHERE o.good_until <= :before ORDER BY o.good_until LIMIT :most;

-- name: drop_news_of_offer(hash)*!
DELETE FROM inbox WHERE act = :hash AND kind = 'offer';

-- name: drop_business_offer(name, short)*!
DELETE FROM business_offers WHERE name = :name AND short = :short;

-- name: drop_offer(short)*!
DELETE FROM offers WHERE short = :short;

-- name: old_counts(before, most)
SELECT name, day, what FROM counts WHERE day <= :before / 86400000 LIMIT :most;

-- name: drop_count(name, day, what)*!
DELETE FROM counts WHERE name = :name AND day = :day AND what = :what;

-- name: drop_api_key(name, id)*!
DELETE FROM api_keys WHERE name = :name AND id = :id;

-- name: next_stream(after)$
SELECT MIN(stream) FROM inbox WHERE stream > :after;

-- name: first_news(stream, most)
SELECT n, told_at, kind FROM inbox WHERE stream = :stream ORDER BY n LIMIT :most;

-- name: drop_news(stream, n)*!
DELETE FROM inbox WHERE stream = :stream AND n < :n;

-- name: mark_pruned(stream, n)*!
-- The last row of what is gone stays, to tell those who come with an older cursor (HTTP-23).
UPDATE inbox SET kind = 'pruned', cid = '', act = NULL, shown = 0, at = NULL, quiet = 1
WHERE stream = :stream AND n = :n;
