-- SPDX-License-Identifier: Apache-2.0
-- Who may do what, and who did what. Nobody is in here at first but who `qmasq-controller init`
-- puts in; root on the Unix socket needs no row. Endpoints get the users that may run on them.

-- role: 1 admin, 2 viewer, 3 VPC admin. A row stays when it is revoked: what it was called in the
-- audit log is nobody else later.
CREATE TABLE accesses (
  id          TEXT    PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 63),
  role        INTEGER NOT NULL CHECK (role IN (1, 2, 3)),
  user_id     INTEGER CHECK (user_id BETWEEN 0 AND 4294967295),
  group_id    INTEGER CHECK (group_id BETWEEN 0 AND 4294967295),
  create_time INTEGER NOT NULL,
  revoke_time INTEGER,
  CHECK (user_id IS NULL OR group_id IS NULL)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX accesses_by_user ON accesses (user_id)
  WHERE user_id IS NOT NULL AND revoke_time IS NULL;
CREATE UNIQUE INDEX accesses_by_group ON accesses (group_id)
  WHERE group_id IS NOT NULL AND revoke_time IS NULL;

-- By id, not uid: the VPC need not exist.
CREATE TABLE access_vpcs (
  access_id TEXT NOT NULL REFERENCES accesses (id) ON DELETE CASCADE,
  vpc_id    TEXT NOT NULL CHECK (length(vpc_id) BETWEEN 1 AND 63),
  PRIMARY KEY (access_id, vpc_id)
) STRICT, WITHOUT ROWID;

-- Client certificates that our CA signed; one that is not here is not accepted. holder:
-- 'hosts/hostA', 'accesses/alice'. Rows go some time after the certificate expired.
CREATE TABLE certificates (
  serial      TEXT    PRIMARY KEY CHECK (length(serial) BETWEEN 1 AND 40),
  holder      TEXT    NOT NULL,
  create_time INTEGER NOT NULL,
  expire_time INTEGER NOT NULL,
  revoke_time INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX certificates_by_holder ON certificates (holder);
CREATE INDEX certificates_by_expiry ON certificates (expire_time);

-- Join tokens by the SHA-256 of their secret. use_time: when an agent joined with it, or when it
-- was revoked.
CREATE TABLE join_tokens (
  hash        TEXT    PRIMARY KEY CHECK (length(hash) = 64),
  host_id     TEXT    NOT NULL CHECK (length(host_id) BETWEEN 1 AND 63),
  create_time INTEGER NOT NULL,
  expire_time INTEGER NOT NULL,
  use_time    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX join_tokens_by_host ON join_tokens (host_id);
CREATE INDEX join_tokens_by_expiry ON join_tokens (expire_time);

-- refused: 0 a mutation, 1 a refusal. Refusals have a retention of their own, so that whoever is
-- refused often cannot push out what was done. vpc_id: what a VPC admin may see it by.
CREATE TABLE audit (
  sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
  time        INTEGER NOT NULL,
  refused     INTEGER NOT NULL CHECK (refused IN (0, 1)),
  caller      TEXT    NOT NULL,
  role        INTEGER NOT NULL CHECK (role BETWEEN 0 AND 4),
  peer        TEXT    NOT NULL,
  serial      TEXT    NOT NULL,
  method      TEXT    NOT NULL,
  resource    TEXT    NOT NULL,
  vpc_id      TEXT    NOT NULL,
  status      TEXT    NOT NULL,
  message     TEXT    NOT NULL,
  before      TEXT    NOT NULL,
  after       TEXT    NOT NULL,
  revision    INTEGER NOT NULL CHECK (revision >= 0)
) STRICT;
CREATE INDEX audit_by_refused ON audit (refused, sequence);
CREATE INDEX audit_by_vpc ON audit (vpc_id, sequence);
CREATE TRIGGER audit_is_final BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- Only the old end may go. The numbers are below the program's retention.
CREATE TRIGGER audit_stays BEFORE DELETE ON audit
WHEN OLD.sequence > (SELECT max(sequence) FROM audit) - 1000
BEGIN SELECT RAISE(ABORT, 'the audit log keeps its newest records'); END;

-- Who may run programs on an endpoint. kind: 0 user, 1 group.
CREATE TABLE endpoint_users (
  endpoint_uid INTEGER NOT NULL REFERENCES endpoints (uid) ON DELETE CASCADE,
  kind         INTEGER NOT NULL CHECK (kind IN (0, 1)),
  number       INTEGER NOT NULL CHECK (number BETWEEN 0 AND 4294967295),
  PRIMARY KEY (endpoint_uid, kind, number)
) STRICT, WITHOUT ROWID;
