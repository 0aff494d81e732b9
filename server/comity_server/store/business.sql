-- What is asked of the store for the business side, in SQL that SQLite and PostgreSQL both speak. The marks behind the
-- names are those of queries.sql.


-- ---- signing keys that are kept here -------------------------------------------------------------------------------

-- name: put_kept_key(name, kid, sealed, added_at)*!
-- Sealed anew under another master key, it keeps its age.
INSERT INTO kept_keys (name, kid, sealed, added_at) VALUES (:name, :kid, :sealed, :added_at)
ON CONFLICT (name, kid) DO UPDATE SET sealed = excluded.sealed;

-- name: kept_keys()
SELECT name, kid, sealed, added_at FROM kept_keys ORDER BY name, added_at, kid;


-- ---- API keys and seats --------------------------------------------------------------------------------------------

-- name: put_api_key(name, id, hash, role, scopes, seat, label, created_at, expires_at)*!
INSERT INTO api_keys (name, id, hash, role, scopes, seat, label, created_at, expires_at, last_used_at)
VALUES (:name, :id, :hash, :role, :scopes, :seat, :label, :created_at, :expires_at, NULL);

-- name: end_api_key(expires_at, name, id)*!
UPDATE api_keys SET expires_at = :expires_at WHERE name = :name AND id = :id;

-- name: touch_api_key(last_used_at, name, id)*!
UPDATE api_keys SET last_used_at = :last_used_at WHERE name = :name AND id = :id;

-- name: api_keys()
SELECT name, id, hash, role, scopes, seat, label, created_at, expires_at, last_used_at
FROM api_keys ORDER BY name, created_at, id;

-- name: put_seat(name, seat, created_at)*!
INSERT INTO seats (name, seat, created_at) VALUES (:name, :seat, :created_at)
ON CONFLICT (name, seat) DO NOTHING;

-- name: seats(name)
SELECT seat, created_at FROM seats WHERE name = :name ORDER BY created_at, seat;


-- ---- what was done, and by whom ------------------------------------------------------------------------------------

-- name: put_doing(cid, act, key_id, seat)*!
-- By which key and seat an act was done; an act sent again stays with who did it first.
INSERT INTO doings (cid, act, key_id, seat) VALUES (:cid, :act, :key_id, :seat)
ON CONFLICT (cid, act) DO NOTHING;

-- name: doings_of(cid)
SELECT act, key_id, seat FROM doings WHERE cid = :cid;

-- name: put_idempotent(name, key, request, status, location, body, at)*!
-- The answer to a request under its key; a new one takes the place of one that is too old to count.
INSERT INTO idempotent (name, key, request, status, location, body, at)
VALUES (:name, :key, :request, :status, :location, :body, :at)
ON CONFLICT (name, key) DO UPDATE SET request = excluded.request, status = excluded.status,
  location = excluded.location, body = excluded.body, at = excluded.at;

-- name: forget_idempotent(before)*!
DELETE FROM idempotent WHERE at < :before;

-- name: get_idempotent(name, key)^
SELECT request, status, location, body, at FROM idempotent WHERE name = :name AND key = :key;

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
