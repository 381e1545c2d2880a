-- SPDX-License-Identifier: Apache-2.0
-- QoS policies, who has them, and what administrators say of NICs. What is in the store already has
-- no policies and goes on as it was.

-- NULL: no such limit. Bounds: qos.proto.
CREATE TABLE qos_policies (
  uid                         INTEGER PRIMARY KEY CHECK (uid >= 1),
  id                          TEXT    NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 63),
  description                 TEXT    NOT NULL CHECK (length(CAST(description AS BLOB)) <= 1024),
  guaranteed_bps              INTEGER CHECK (guaranteed_bps BETWEEN 8000 AND 10000000000000),
  maximum_bps                 INTEGER CHECK (maximum_bps BETWEEN 8000 AND 10000000000000),
  burst_bytes                 INTEGER CHECK (burst_bytes BETWEEN 4096 AND 1073741824),
  weight                      INTEGER NOT NULL CHECK (weight BETWEEN 1 AND 100),
  dscp                        INTEGER CHECK (dscp BETWEEN 0 AND 63),
  quota_queue_pairs           INTEGER CHECK (quota_queue_pairs BETWEEN 1 AND 2147483647),
  quota_completion_queues     INTEGER CHECK (quota_completion_queues BETWEEN 1 AND 2147483647),
  quota_memory_regions        INTEGER CHECK (quota_memory_regions BETWEEN 1 AND 2147483647),
  quota_shared_receive_queues INTEGER CHECK (quota_shared_receive_queues BETWEEN 1 AND 2147483647),
  quota_pinned_bytes          INTEGER
    CHECK (quota_pinned_bytes BETWEEN 4096 AND 1152921504606846976),
  rate_contexts               INTEGER CHECK (rate_contexts BETWEEN 1 AND 1000000),
  burst_contexts              INTEGER CHECK (burst_contexts BETWEEN 1 AND 1000000),
  rate_queue_pairs            INTEGER CHECK (rate_queue_pairs BETWEEN 1 AND 1000000),
  burst_queue_pairs           INTEGER CHECK (burst_queue_pairs BETWEEN 1 AND 1000000),
  rate_connects               INTEGER CHECK (rate_connects BETWEEN 1 AND 1000000),
  burst_connects              INTEGER CHECK (burst_connects BETWEEN 1 AND 1000000),
  rate_verbs                  INTEGER CHECK (rate_verbs BETWEEN 1 AND 1000000),
  burst_verbs                 INTEGER CHECK (burst_verbs BETWEEN 1 AND 1000000),
  version                     INTEGER NOT NULL CHECK (version >= 1),
  revision                    INTEGER NOT NULL CHECK (revision >= 1),
  create_time                 INTEGER NOT NULL,
  update_time                 INTEGER NOT NULL,
  CHECK (guaranteed_bps <= maximum_bps),
  CHECK ((rate_contexts IS NULL) = (burst_contexts IS NULL)),
  CHECK ((rate_queue_pairs IS NULL) = (burst_queue_pairs IS NULL)),
  CHECK ((rate_connects IS NULL) = (burst_connects IS NULL)),
  CHECK ((rate_verbs IS NULL) = (burst_verbs IS NULL))
) STRICT;

ALTER TABLE vpcs ADD COLUMN qos_policy_uid INTEGER REFERENCES qos_policies (uid) ON DELETE RESTRICT;
ALTER TABLE endpoints
  ADD COLUMN qos_policy_uid INTEGER REFERENCES qos_policies (uid) ON DELETE RESTRICT;
CREATE INDEX vpcs_by_qos_policy ON vpcs (qos_policy_uid) WHERE qos_policy_uid IS NOT NULL;
-- Where guarantees are added up: a host's endpoints that have a policy, a policy's hosts, a VPC's
-- hosts, a host's VPCs. Endpoints without a policy are in neither of the first two.
CREATE INDEX endpoints_with_qos_policy ON endpoints (host_uid, vpc_uid, qos_policy_uid)
  WHERE qos_policy_uid IS NOT NULL;
CREATE INDEX endpoints_by_qos_policy ON endpoints (qos_policy_uid, host_uid)
  WHERE qos_policy_uid IS NOT NULL;
CREATE INDEX endpoints_by_vpc_and_host ON endpoints (vpc_uid, host_uid);
DROP INDEX endpoints_by_host;
CREATE INDEX endpoints_by_host ON endpoints (host_uid, vpc_uid);

-- As an administrator says; the device need not be in host_nics.
CREATE TABLE host_nic_rates (
  host_uid INTEGER NOT NULL REFERENCES hosts (uid) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position >= 0),
  device   TEXT    NOT NULL CHECK (length(device) BETWEEN 1 AND 64),
  rate_bps INTEGER NOT NULL CHECK (rate_bps BETWEEN 1000 AND 10000000000000),
  PRIMARY KEY (host_uid, position),
  UNIQUE (host_uid, device)
) STRICT, WITHOUT ROWID;

-- The revision log, now with kind 5, QoS policy, which like a host is of no VPC.
CREATE TABLE changes_3 (
  revision          INTEGER NOT NULL CHECK (revision >= 1),
  sequence          INTEGER NOT NULL CHECK (sequence >= 0),
  kind              INTEGER NOT NULL CHECK (kind IN (1, 2, 3, 4, 5)),
  op                INTEGER NOT NULL CHECK (op IN (1, 2, 3)),
  uid               INTEGER NOT NULL CHECK (uid >= 1),
  vpc_uid           INTEGER NOT NULL CHECK (vpc_uid >= 0),
  host_uid          INTEGER NOT NULL CHECK (host_uid >= 0),
  previous_host_uid INTEGER NOT NULL CHECK (previous_host_uid >= 0),
  time              INTEGER NOT NULL,
  PRIMARY KEY (revision, sequence),
  CHECK ((kind IN (3, 5)) = (vpc_uid = 0))
) STRICT, WITHOUT ROWID;
INSERT INTO changes_3 SELECT * FROM changes;
DROP TABLE changes;
ALTER TABLE changes_3 RENAME TO changes;
CREATE TRIGGER changes_are_final BEFORE UPDATE ON changes
BEGIN SELECT RAISE(ABORT, 'the revision log is append-only'); END;
CREATE TRIGGER changes_stay BEFORE DELETE ON changes
BEGIN SELECT RAISE(ABORT, 'the revision log is append-only'); END;
