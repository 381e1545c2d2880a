-- SPDX-License-Identifier: Apache-2.0
-- Resources, as schema/README.md explains them. Times are microseconds since 1970 (UTC). Addresses
-- are 16 bytes, IPv4 in its v4-mapped form, so that they sort and compare as numbers.

-- One row: the store itself.
CREATE TABLE store (
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  store_id    TEXT    NOT NULL CHECK (length(store_id) = 32),
  revision    INTEGER NOT NULL CHECK (revision >= 0),
  next_uid    INTEGER NOT NULL CHECK (next_uid >= 1),
  create_time INTEGER NOT NULL
) STRICT;

CREATE TABLE vpcs (
  uid         INTEGER PRIMARY KEY CHECK (uid >= 1),
  id          TEXT    NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 63),
  vni         INTEGER NOT NULL UNIQUE CHECK (vni BETWEEN 1 AND 16777215),
  mtu         INTEGER NOT NULL CHECK (mtu = 0 OR mtu BETWEEN 1280 AND 9000),
  description TEXT    NOT NULL CHECK (length(CAST(description AS BLOB)) <= 1024),
  version     INTEGER NOT NULL CHECK (version >= 1),
  revision    INTEGER NOT NULL CHECK (revision >= 1),
  create_time INTEGER NOT NULL,
  update_time INTEGER NOT NULL
) STRICT;

-- That ranges of one VPC do not overlap is checked by the program: SQL has no words for it.
CREATE TABLE vpc_ranges (
  vpc_uid  INTEGER NOT NULL REFERENCES vpcs (uid) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position >= 0),
  address  BLOB    NOT NULL CHECK (length(address) = 16),
  length   INTEGER NOT NULL CHECK (length BETWEEN 0 AND 128),
  PRIMARY KEY (vpc_uid, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE hosts (
  uid            INTEGER PRIMARY KEY CHECK (uid >= 1),
  id             TEXT    NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 63),
  description    TEXT    NOT NULL CHECK (length(CAST(description AS BLOB)) <= 1024),
  underlay       BLOB    NOT NULL CHECK (length(underlay) = 16),
  joined         INTEGER NOT NULL CHECK (joined IN (0, 1)),
  agent_version  TEXT    NOT NULL,
  kernel_release TEXT    NOT NULL,
  version        INTEGER NOT NULL CHECK (version >= 1),
  revision       INTEGER NOT NULL CHECK (revision >= 1),
  create_time    INTEGER NOT NULL,
  update_time    INTEGER NOT NULL
) STRICT;

CREATE TABLE host_nics (
  host_uid    INTEGER NOT NULL REFERENCES hosts (uid) ON DELETE CASCADE,
  position    INTEGER NOT NULL CHECK (position >= 0),
  device      TEXT    NOT NULL CHECK (length(device) BETWEEN 1 AND 64),
  port        INTEGER NOT NULL CHECK (port BETWEEN 0 AND 4294967295),
  netdev      TEXT    NOT NULL,
  driver      TEXT    NOT NULL,
  active      INTEGER NOT NULL CHECK (active IN (0, 1)),
  active_mtu  INTEGER NOT NULL CHECK (active_mtu BETWEEN 0 AND 4294967295),
  rate_bps    INTEGER NOT NULL CHECK (rate_bps >= 0),
  primary_gid BLOB    NOT NULL CHECK (length(primary_gid) = 16),
  PRIMARY KEY (host_uid, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE host_gids (
  host_uid     INTEGER NOT NULL,
  nic_position INTEGER NOT NULL,
  gid_index    INTEGER NOT NULL CHECK (gid_index BETWEEN 0 AND 4294967295),
  gid          BLOB    NOT NULL CHECK (length(gid) = 16),
  gid_type     INTEGER NOT NULL CHECK (gid_type IN (0, 1, 2)),
  PRIMARY KEY (host_uid, nic_position, gid_index),
  FOREIGN KEY (host_uid, nic_position) REFERENCES host_nics (host_uid, position) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE endpoints (
  uid         INTEGER PRIMARY KEY CHECK (uid >= 1),
  vpc_uid     INTEGER NOT NULL REFERENCES vpcs (uid) ON DELETE RESTRICT,
  id          TEXT    NOT NULL CHECK (length(id) BETWEEN 1 AND 63),
  host_uid    INTEGER NOT NULL REFERENCES hosts (uid) ON DELETE RESTRICT,
  mac         BLOB    NOT NULL CHECK (length(mac) = 6),
  description TEXT    NOT NULL CHECK (length(CAST(description AS BLOB)) <= 1024),
  version     INTEGER NOT NULL CHECK (version >= 1),
  revision    INTEGER NOT NULL CHECK (revision >= 1),
  create_time INTEGER NOT NULL,
  update_time INTEGER NOT NULL,
  UNIQUE (vpc_uid, id),
  UNIQUE (vpc_uid, mac),
  UNIQUE (uid, vpc_uid)
) STRICT;
CREATE INDEX endpoints_by_host ON endpoints (host_uid);

-- The primary key is what keeps an address from being given twice in one VPC.
CREATE TABLE endpoint_addresses (
  vpc_uid      INTEGER NOT NULL,
  address      BLOB    NOT NULL CHECK (length(address) = 16),
  endpoint_uid INTEGER NOT NULL,
  position     INTEGER NOT NULL CHECK (position >= 0),
  PRIMARY KEY (vpc_uid, address),
  UNIQUE (endpoint_uid, position),
  FOREIGN KEY (endpoint_uid, vpc_uid) REFERENCES endpoints (uid, vpc_uid) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- The revision log. kind: 1 VPC, 2 endpoint, 3 host. op: 1 create, 2 update, 3 delete.
CREATE TABLE changes (
  revision          INTEGER NOT NULL CHECK (revision >= 1),
  sequence          INTEGER NOT NULL CHECK (sequence >= 0),
  kind              INTEGER NOT NULL CHECK (kind IN (1, 2, 3)),
  op                INTEGER NOT NULL CHECK (op IN (1, 2, 3)),
  uid               INTEGER NOT NULL CHECK (uid >= 1),
  vpc_uid           INTEGER NOT NULL CHECK (vpc_uid >= 0),
  host_uid          INTEGER NOT NULL CHECK (host_uid >= 0),
  previous_host_uid INTEGER NOT NULL CHECK (previous_host_uid >= 0),
  time              INTEGER NOT NULL,
  PRIMARY KEY (revision, sequence),
  CHECK ((kind = 3) = (vpc_uid = 0))
) STRICT, WITHOUT ROWID;
CREATE TRIGGER changes_are_final BEFORE UPDATE ON changes
BEGIN SELECT RAISE(ABORT, 'the revision log is append-only'); END;
CREATE TRIGGER changes_stay BEFORE DELETE ON changes
BEGIN SELECT RAISE(ABORT, 'the revision log is append-only'); END;

-- Answered requests, for 24 hours.
CREATE TABLE requests (
  request_id  TEXT    PRIMARY KEY CHECK (length(request_id) = 36),
  method      TEXT    NOT NULL,
  request     BLOB    NOT NULL,
  response    BLOB    NOT NULL,
  create_time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_time ON requests (create_time);
