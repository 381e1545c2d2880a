-- SPDX-License-Identifier: Apache-2.0
-- What the GIDs of VPCs on a NIC begin with; zero: they have none there.
ALTER TABLE host_nics ADD COLUMN vpc_gid_prefix BLOB NOT NULL
  DEFAULT x'00000000000000000000000000000000' CHECK (length(vpc_gid_prefix) = 16);
