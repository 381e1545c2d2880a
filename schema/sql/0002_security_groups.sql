-- SPDX-License-Identifier: Apache-2.0
-- Security groups. What is in the store already goes on as it was: each VPC gets its default group,
-- all of its endpoints carry it, and its members admit each other. One revision tells the agents.

CREATE TABLE security_groups (
  uid         INTEGER PRIMARY KEY CHECK (uid >= 1),
  vpc_uid     INTEGER NOT NULL REFERENCES vpcs (uid) ON DELETE RESTRICT,
  id          TEXT    NOT NULL CHECK (length(id) BETWEEN 1 AND 63),
  description TEXT    NOT NULL CHECK (length(CAST(description AS BLOB)) <= 1024),
  version     INTEGER NOT NULL CHECK (version >= 1),
  revision    INTEGER NOT NULL CHECK (revision >= 1),
  create_time INTEGER NOT NULL,
  update_time INTEGER NOT NULL,
  UNIQUE (vpc_uid, id),
  UNIQUE (uid, vpc_uid)
) STRICT;

-- direction: 0 in, 1 out. action: 0 deny, 1 allow. transport: -1 any, 0 rc, 1 uc, 2 ud, 3 xrc.
-- remote_kind: 0 any, 1 a range, 2 a group. operations: 1 send, 2 read, 4 write, 8 atomic, added up.
-- That the remote group is of the same VPC is checked by the program.
CREATE TABLE security_group_rules (
  group_uid     INTEGER NOT NULL REFERENCES security_groups (uid) ON DELETE CASCADE,
  position      INTEGER NOT NULL CHECK (position >= 0),
  id            TEXT    NOT NULL CHECK (length(id) BETWEEN 1 AND 63),
  direction     INTEGER NOT NULL CHECK (direction IN (0, 1)),
  priority      INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 65535),
  action        INTEGER NOT NULL CHECK (action IN (0, 1)),
  transport     INTEGER NOT NULL CHECK (transport BETWEEN -1 AND 3),
  remote_kind   INTEGER NOT NULL CHECK (remote_kind IN (0, 1, 2)),
  remote_range  BLOB    NOT NULL CHECK (length(remote_range) = 16),
  remote_length INTEGER NOT NULL CHECK (remote_length BETWEEN 0 AND 128),
  remote_group  INTEGER REFERENCES security_groups (uid) DEFERRABLE INITIALLY DEFERRED,
  operations    INTEGER NOT NULL CHECK (operations BETWEEN 0 AND 15),
  log           INTEGER NOT NULL CHECK (log IN (0, 1)),
  shadow        INTEGER NOT NULL CHECK (shadow IN (0, 1)),
  description   TEXT    NOT NULL CHECK (length(CAST(description AS BLOB)) <= 256),
  PRIMARY KEY (group_uid, position),
  UNIQUE (group_uid, id),
  CHECK ((remote_kind = 2) = (remote_group IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX security_group_rules_by_remote ON security_group_rules (remote_group);

CREATE TABLE endpoint_security_groups (
  endpoint_uid INTEGER NOT NULL REFERENCES endpoints (uid) ON DELETE CASCADE,
  position     INTEGER NOT NULL CHECK (position >= 0),
  group_uid    INTEGER NOT NULL REFERENCES security_groups (uid) ON DELETE RESTRICT,
  PRIMARY KEY (endpoint_uid, position),
  UNIQUE (endpoint_uid, group_uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX endpoint_security_groups_by_group ON endpoint_security_groups (group_uid);

-- The revision log, now with kind 4, security group.
CREATE TABLE changes_2 (
  revision          INTEGER NOT NULL CHECK (revision >= 1),
  sequence          INTEGER NOT NULL CHECK (sequence >= 0),
  kind              INTEGER NOT NULL CHECK (kind IN (1, 2, 3, 4)),
  op                INTEGER NOT NULL CHECK (op IN (1, 2, 3)),
  uid               INTEGER NOT NULL CHECK (uid >= 1),
  vpc_uid           INTEGER NOT NULL CHECK (vpc_uid >= 0),
  host_uid          INTEGER NOT NULL CHECK (host_uid >= 0),
  previous_host_uid INTEGER NOT NULL CHECK (previous_host_uid >= 0),
  time              INTEGER NOT NULL,
  PRIMARY KEY (revision, sequence),
  CHECK ((kind = 3) = (vpc_uid = 0))
) STRICT, WITHOUT ROWID;
INSERT INTO changes_2 SELECT * FROM changes;
DROP TABLE changes;
ALTER TABLE changes_2 RENAME TO changes;
CREATE TRIGGER changes_are_final BEFORE UPDATE ON changes
BEGIN SELECT RAISE(ABORT, 'the revision log is append-only'); END;
CREATE TRIGGER changes_stay BEFORE DELETE ON changes
BEGIN SELECT RAISE(ABORT, 'the revision log is append-only'); END;

-- What is there already.
UPDATE store SET revision = revision + 1 WHERE EXISTS (SELECT 1 FROM vpcs);
INSERT INTO security_groups (uid, vpc_uid, id, description, version, revision, create_time,
                             update_time)
  SELECT store.next_uid + row_number() OVER (ORDER BY vpcs.uid) - 1, vpcs.uid, 'default',
         'Members admit each other', 1, store.revision,
         CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER),
         CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)
    FROM vpcs JOIN store;
UPDATE store SET next_uid = next_uid + (SELECT count(*) FROM security_groups);
INSERT INTO security_group_rules (group_uid, position, id, direction, priority, action, transport,
                                  remote_kind, remote_range, remote_length, remote_group,
                                  operations, log, shadow, description)
  SELECT uid, 0, 'self-in', 0, 1000, 1, -1, 2, zeroblob(16), 0, uid, 15, 0, 0, ''
    FROM security_groups
  UNION ALL
  SELECT uid, 1, 'self-out', 1, 1000, 1, -1, 2, zeroblob(16), 0, uid, 15, 0, 0, ''
    FROM security_groups;
INSERT INTO endpoint_security_groups (endpoint_uid, position, group_uid)
  SELECT endpoints.uid, 0, security_groups.uid
    FROM endpoints JOIN security_groups ON security_groups.vpc_uid = endpoints.vpc_uid;
INSERT INTO changes (revision, sequence, kind, op, uid, vpc_uid, host_uid, previous_host_uid, time)
  SELECT store.revision, row_number() OVER (ORDER BY kind DESC, uid) - 1, kind, op, uid, vpc_uid,
         host_uid, host_uid, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)
    FROM store JOIN (SELECT 4 AS kind, 1 AS op, uid, vpc_uid, 0 AS host_uid FROM security_groups
                     UNION ALL
                     SELECT 2, 2, uid, vpc_uid, host_uid FROM endpoints);
UPDATE endpoints SET version = version + 1, revision = (SELECT revision FROM store);
