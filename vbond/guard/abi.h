/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the guard's BPF program and the agent have in common: the layout of the shared maps. C, for
 * both compilers. Integers are the machine's own: both ends are on one machine.
 *
 * A change of anything below must change QMASQ_GUARD_LAYOUT: an agent of another layout does not
 * take over pinned maps. */

#define QMASQ_GUARD_LAYOUT 3

/* Open verbs files at a time. Slot 0 is nobody's. */
#define QMASQ_GUARD_SLOTS 16384
#define QMASQ_GUARD_FILES 32768
#define QMASQ_GUARD_DEVICES 256
#define QMASQ_GUARD_EVENT_BYTES (256 * 1024)

/* How long a caller is held at most, and how often the hook looks meanwhile: bpf_loop() makes no
 * more than 1 << 23 turns, which real processors do in a third of a second. */
#define QMASQ_GUARD_HOLD_NS 1000000000ull
#define QMASQ_GUARD_HOLD_TURNS (1u << 23)
#define QMASQ_GUARD_HOLD_LOOPS 16

/* The command of every verb, RDMA_VERBS_IOCTL. */
#define QMASQ_GUARD_VERBS 0xc0181b01u

/* ioctl command with which the agent ties a descriptor of its own to a slot (the argument). The
 * kernel itself knows no such command and answers ENOTTY; only the guard sees it. */
#define QMASQ_GUARD_BIND 0x514d4742u

/* qmasq_guard_slot.used */
enum { QMASQ_SLOT_FREE = 0, QMASQ_SLOT_RESERVED = 1, QMASQ_SLOT_BOUND = 2 };

/* qmasq_guard_slot.flight */
enum { QMASQ_FLIGHT_NONE = 0, QMASQ_FLIGHT_PERMITTED = 1, QMASQ_FLIGHT_RUNNING = 2 };

/* What a caller did that it must not: qmasq_guard_slot.condemned, qmasq_guard_event.what. */
enum {
  QMASQ_DID_NOTHING = 0,
  QMASQ_DID_METHOD = 1,    /* ioctl method that the agent did not let run */
  QMASQ_DID_COMMAND = 2,   /* write command inside INVOKE_WRITE, likewise */
  QMASQ_DID_WRITE = 3,     /* write command by write() */
  QMASQ_DID_MODIFY_QP = 4, /* reached ib_modify_qp_with_udata() */
  QMASQ_DID_CREATE_AH = 5, /* reached rdma_create_user_ah() */
  QMASQ_DID_CREATE_QP = 6, /* a QP of another type than was checked */
  QMASQ_DID_OPEN = 7 /* opened a device that tenants open while no file could be kept track of */
};

/* qmasq_guard_slot.released: why a caller is not held (any more). */
enum {
  QMASQ_HELD = 0,
  QMASQ_RELEASED = 1, /* by the agent: the context has no queue pair left */
  QMASQ_HELD_OUT = 2  /* the agent took too long */
};

/* One open verbs file of a tenant, and the one call that the agent lets run on it. Written by the
 * agent while `flight` is NONE (and to take back a permit), by the kernel's side otherwise. A cache
 * line each. */
struct qmasq_guard_slot {
  unsigned long long context;  /* the agent's number of the context */
  unsigned long long argument; /* third argument of the ioctl() that may be made, to the bit */
  unsigned int used;
  unsigned int flight;
  unsigned int tid;       /* of the task that may call, as the initial pid namespace has it */
  unsigned int method;    /* key of object and method, see method_key() in guard.h */
  unsigned int command;   /* write command of an INVOKE_WRITE, else 0 */
  unsigned int condemned; /* what was done first; never taken back */
  unsigned int landed;    /* calls that came back */
  int result;             /* of the last: 0 or a negative errno */
  unsigned int tenant;    /* 1: the tenant opened it */
  unsigned int qp_type;   /* of the QP that the call may make; 0: none */
  unsigned int released;
  unsigned int pad;
};

struct qmasq_guard_state {
  unsigned int layout;         /* QMASQ_GUARD_LAYOUT */
  unsigned int agent;          /* process id of the agent; 0: none was there yet */
  unsigned long long started;  /* when it started: clock ticks since boot, field 22 of its stat */
  unsigned long long programs; /* fingerprint of the programs that are attached */
  unsigned int host_netns;     /* inode number of the network namespace of the host */
  unsigned int bound_slot;     /* answer to QMASQ_GUARD_BIND; 0: not a managed file */
  unsigned int bound_tenant;
  unsigned int violations;
  unsigned int lost;       /* events that found no room */
  unsigned int links;      /* programs that are attached */
  unsigned int writes;     /* 1: those of write() among them */
  unsigned int hold_limit; /* callers that may be held at a time: each takes a processor */
  unsigned int holding;
  unsigned int held_out; /* callers that were not released in time */
  unsigned int refused;  /* verb calls that were refused before they began */
};

struct qmasq_guard_event {
  unsigned long long context; /* 0: a file that no agent has tied to a context */
  unsigned int slot;
  unsigned int what;
  unsigned int pid; /* process, initial pid namespace */
  unsigned int tid;
  unsigned int method;  /* that was called, 0 if not known */
  unsigned int command; /* likewise */
  char name[16];        /* of the task */
};
