// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0
// The kernel's side of the guard. Refuses every verb call on every file that vbond opened for a
// tenant (or that a tenant opened itself, on a device that vbond marked) but the one that vbond has
// let run, by who calls with which argument, before any of it is read. Sees that one in the
// kernel's own copy, after the last moment at which anybody can change it; and kills whoever has
// made another of it. docs/adr/0018-the-guard.md says why here and how.
//
// Structures of the kernel are declared as far as they are used; where their members really lie,
// libbpf finds in the BTF of the running kernel and its modules.
#include <stdbool.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef s32 __s32;
typedef long long __s64;
typedef u8 __u8;
typedef u16 __be16;
typedef u32 __be32;
typedef u32 __wsum;

enum { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_RINGBUF = 27 };
enum { BPF_ANY = 0 };
enum { BPF_F_MMAPABLE = 1U << 10 };
enum { kSigKill = 9 };

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "vbond/guard/abi.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define KERNEL_STRUCT __attribute__((preserve_access_index))

struct ns_common {
  u32 inum;
} KERNEL_STRUCT;
struct net {
  struct ns_common ns;
} KERNEL_STRUCT;
struct nsproxy {
  struct net* net_ns;
} KERNEL_STRUCT;
struct task_struct {
  struct task_struct* group_leader;
  struct nsproxy* nsproxy;
  u64 start_boottime;
} KERNEL_STRUCT;
struct inode {
  u32 i_rdev;
} KERNEL_STRUCT;
struct file {
  void* private_data;
} KERNEL_STRUCT;

struct ib_uverbs_file {
  int unused;
};
struct ib_uobject {
  struct ib_uverbs_file* ufile;
} KERNEL_STRUCT;
struct ib_uevent_object {
  struct ib_uobject uobject;
} KERNEL_STRUCT;
struct ib_uqp_object {
  struct ib_uevent_object uevent;
} KERNEL_STRUCT;
struct ib_qp {
  struct ib_uqp_object* uobject;
} KERNEL_STRUCT;
enum ib_qp_type { QMASQ_NO_QP_TYPE };  // its members are not needed, its kind is
struct ib_qp_init_attr {
  enum ib_qp_type qp_type;
} KERNEL_STRUCT;
struct ib_pd {
  struct ib_uobject* uobject;
} KERNEL_STRUCT;

struct uverbs_ptr_attr {
  u64 data;
} KERNEL_STRUCT;
struct uverbs_attr {
  struct uverbs_ptr_attr ptr_attr;
} KERNEL_STRUCT;
struct uverbs_attr_bundle {
  struct ib_uverbs_file* ufile;
  struct uverbs_attr attrs[0];
} KERNEL_STRUCT;
struct bundle_priv {
  u32 method_key;
  struct uverbs_attr_bundle bundle;
} KERNEL_STRUCT;

// Values of the fixed ABI and of the kernel's keys (include/rdma/uverbs_ioctl.h).
#define METHOD_INVOKE_WRITE 0x40U  // DEVICE, INVOKE_WRITE
#define ATTR_CORE_IN 0U            // UVERBS_ATTR_CORE_IN
#define WRITE_CMD_AT 4             // where UVERBS_ATTR_WRITE_CMD lies in the bundle
#define NSEC_PER_TICK 10000000ULL  // USER_HZ is 100 everywhere
#define NOT_PERMITTED (-1)         // -EPERM

struct managed {
  u32 slot;  // 0: not tied to a context yet
  u32 tenant;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, u32);
  __type(value, struct qmasq_guard_state);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
} qmasq_state SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, QMASQ_GUARD_SLOTS);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, u32);
  __type(value, struct qmasq_guard_slot);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
} qmasq_slots SEC(".maps");

// By struct ib_uverbs_file*. From its opening to its last close, wherever descriptors of it go.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, QMASQ_GUARD_FILES);
  __type(key, u64);
  __type(value, struct managed);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
} qmasq_files SEC(".maps");

// Device numbers (the kernel's dev_t) of devices that tenants open themselves.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, QMASQ_GUARD_DEVICES);
  __type(key, u32);
  __type(value, u32);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
} qmasq_devices SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, QMASQ_GUARD_EVENT_BYTES);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
} qmasq_events SEC(".maps");

static __always_inline struct qmasq_guard_state* state(void) {
  u32 zero = 0;
  return bpf_map_lookup_elem(&qmasq_state, &zero);
}

static __always_inline struct qmasq_guard_slot* slot_of(const struct managed* file) {
  u32 index = file->slot;
  if (index == 0) return NULL;
  return bpf_map_lookup_elem(&qmasq_slots, &index);
}

static __always_inline struct managed* file_of(u64 ufile) {
  if (ufile == 0) return NULL;
  return bpf_map_lookup_elem(&qmasq_files, &ufile);
}

static __always_inline u32 current_tid(void) {
  return (u32)bpf_get_current_pid_tgid();
}

// The process that is the agent: by number, and by when it started, since numbers are used again.
static __always_inline bool is_agent(void) {
  struct qmasq_guard_state* now = state();
  u32 tgid = (u32)(bpf_get_current_pid_tgid() >> 32);
  if (now == NULL || now->agent == 0 || now->agent != tgid) return false;
  struct task_struct* task = (void*)bpf_get_current_task();
  u64 started = BPF_CORE_READ(task, group_leader, start_boottime);
  return started / NSEC_PER_TICK == now->started;
}

static __always_inline void punish(const struct managed* file, u32 what, u32 method, u32 command) {
  // First, and whatever else fails: it is pending when the call comes back, so that no instruction
  // of the process runs any more. Its other threads are stopped where they are.
  bpf_send_signal(kSigKill);
  struct qmasq_guard_slot* slot = file == NULL ? NULL : slot_of(file);
  if (slot != NULL && slot->condemned != QMASQ_DID_NOTHING) return;  // told already
  if (slot != NULL) slot->condemned = what;
  struct qmasq_guard_state* now = state();
  if (now == NULL) return;
  __sync_fetch_and_add(&now->violations, 1);
  struct qmasq_guard_event* event = bpf_ringbuf_reserve(&qmasq_events, sizeof(*event), 0);
  if (event == NULL) {
    __sync_fetch_and_add(&now->lost, 1);
    return;
  }
  u64 id = bpf_get_current_pid_tgid();
  event->context = slot == NULL ? 0 : slot->context;
  event->slot = file == NULL ? 0 : file->slot;
  event->what = what;
  event->pid = (u32)(id >> 32);
  event->tid = (u32)id;
  event->method = method;
  event->command = command;
  bpf_get_current_comm(event->name, sizeof(event->name));
  bpf_ringbuf_submit(event, 0);
}

struct hold {
  u32 slot;
  u64 until;
};

// 1 ends the loop.
static long look_for_release(u32 turn, void* context) {
  struct hold* hold = context;
  struct qmasq_guard_slot* slot = bpf_map_lookup_elem(&qmasq_slots, &hold->slot);
  if (slot == NULL || *(volatile u32*)&slot->released != QMASQ_HELD) return 1;
  return bpf_ktime_get_ns() > hold->until;
}

static long look_longer(u32 turn, void* context) {
  bpf_loop(QMASQ_GUARD_HOLD_TURNS, look_for_release, context, 0);
  return look_for_release(turn, context);
}

// The call cannot be refused, but it can be kept until it finds nothing to work on: the agent
// destroys the context's queue pairs first of all, and then releases the caller. The caller holds
// no lock on any object here, so the agent's own calls pass it. Bounded, in time and in processors:
// whoever waits here keeps one busy.
static __always_inline void hold_caller(const struct managed* file) {
  struct qmasq_guard_state* now = state();
  struct qmasq_guard_slot* slot = slot_of(file);
  if (now == NULL || slot == NULL || slot->released != QMASQ_HELD) return;
  struct hold hold = {.slot = file->slot, .until = bpf_ktime_get_ns() + QMASQ_GUARD_HOLD_NS};
  if (__sync_fetch_and_add(&now->holding, 1) < now->hold_limit) {
    bpf_loop(QMASQ_GUARD_HOLD_LOOPS, look_longer, &hold, 0);
    if (__sync_val_compare_and_swap(&slot->released, QMASQ_HELD, QMASQ_HELD_OUT) == QMASQ_HELD)
      __sync_fetch_and_add(&now->held_out, 1);
  }
  __sync_fetch_and_add(&now->holding, -1);
}

SEC("fexit/ib_uverbs_open")
int BPF_PROG(qmasq_open, struct inode* inode, struct file* filp, int ret) {
  if (ret != 0) return 0;
  struct managed file = {};
  if (!is_agent()) {
    u32 device = BPF_CORE_READ(inode, i_rdev);
    if (bpf_map_lookup_elem(&qmasq_devices, &device) == NULL) return 0;
    struct qmasq_guard_state* now = state();
    struct task_struct* task = (void*)bpf_get_current_task();
    u32 netns = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
    if (now == NULL || netns == now->host_netns) return 0;
    file.tenant = 1;
  }
  u64 ufile = (u64)BPF_CORE_READ(filp, private_data);
  if (bpf_map_update_elem(&qmasq_files, &ufile, &file, BPF_ANY) != 0) {
    // The agent finds its own file unknown when it wants to tie it, and closes it again.
    if (file.tenant) punish(NULL, QMASQ_DID_OPEN, 0, 0);
  }
  return 0;
}

// Before: afterwards the memory may be the next file's already.
SEC("fentry/ib_uverbs_close")
int BPF_PROG(qmasq_close, struct inode* inode, struct file* filp) {
  u64 ufile = (u64)BPF_CORE_READ(filp, private_data);
  struct managed* file = file_of(ufile);
  if (file == NULL) return 0;
  struct qmasq_guard_slot* slot = slot_of(file);
  bpf_map_delete_elem(&qmasq_files, &ufile);
  if (slot != NULL) slot->used = QMASQ_SLOT_FREE;
  return 0;
}

// The agent says which context a file is. Where a file has a slot already (the agent was started
// again), it keeps it: a call may be in flight on it.
SEC("fentry/ib_uverbs_ioctl")
int BPF_PROG(qmasq_bind, struct file* filp, u32 cmd, u64 arg) {
  if (cmd != QMASQ_GUARD_BIND || !is_agent()) return 0;
  u64 ufile = (u64)BPF_CORE_READ(filp, private_data);
  struct managed* file = file_of(ufile);
  struct qmasq_guard_state* now = state();
  if (file == NULL || now == NULL) return 0;
  if (file->slot == 0) file->slot = (u32)arg;
  struct qmasq_guard_slot* slot = slot_of(file);
  if (slot == NULL) return 0;
  slot->tenant = file->tenant;
  slot->used = QMASQ_SLOT_BOUND;
  now->bound_tenant = file->tenant;
  now->bound_slot = file->slot;
  return 0;
}

// The call that was let run has come back.
SEC("fexit/ib_uverbs_ioctl")
int BPF_PROG(qmasq_landed, struct file* filp, u32 cmd, u64 arg, long ret) {
  struct managed* file = file_of((u64)BPF_CORE_READ(filp, private_data));
  if (file == NULL) return 0;
  struct qmasq_guard_slot* slot = slot_of(file);
  if (slot == NULL || slot->flight == QMASQ_FLIGHT_NONE || slot->tid != current_tid()) return 0;
  slot->result = (s32)ret;
  __sync_fetch_and_add(&slot->landed, 1);  // and a barrier: what the agent reads next is complete
  slot->flight = QMASQ_FLIGHT_NONE;
  return 0;
}

// Before every ioctl() on any file of the host, and before that file hears of it: what is no verb
// must cost nothing. The command has 32 bits, as in the kernel's own comparison.
static __always_inline int may_call(struct file* filp, u32 cmd, u64 arg) {
  if (cmd != QMASQ_GUARD_VERBS) return 0;
  struct managed* file = file_of((u64)BPF_CORE_READ(filp, private_data));
  if (file == NULL || is_agent()) return 0;
  struct qmasq_guard_slot* slot = slot_of(file);
  if (slot != NULL && slot->condemned == QMASQ_DID_NOTHING &&
      slot->flight == QMASQ_FLIGHT_PERMITTED && slot->tid == current_tid() && slot->argument == arg)
    return 0;
  struct qmasq_guard_state* now = state();
  if (now != NULL) __sync_fetch_and_add(&now->refused, 1);
  return NOT_PERMITTED;
}

SEC("fmod_ret/security_file_ioctl")
int BPF_PROG(qmasq_refuse, struct file* filp, u32 cmd, u64 arg, int ret) {
  return ret != 0 ? ret : may_call(filp, cmd, arg);
}

// The way of 32-bit programs, where the kernel has another one for them.
SEC("fmod_ret/security_file_ioctl_compat")
int BPF_PROG(qmasq_refuse_compat, struct file* filp, u32 cmd, u64 arg, int ret) {
  return ret != 0 ? ret : may_call(filp, cmd, arg);
}

// Called for every ioctl that is a known method, before its attributes are read, with the method in
// the kernel's copy (ib_uverbs_run_method), and again for what methods allocate.
SEC("fentry/_uverbs_alloc")
int BPF_PROG(qmasq_method, struct uverbs_attr_bundle* bundle) {
  struct managed* file = file_of((u64)BPF_CORE_READ(bundle, ufile));
  if (file == NULL || is_agent()) return 0;
  struct bundle_priv* call = (void*)bundle - bpf_core_field_offset(struct bundle_priv, bundle);
  u32 method = BPF_CORE_READ(call, method_key);
  struct qmasq_guard_slot* slot = slot_of(file);
  if (slot != NULL && slot->condemned == QMASQ_DID_NOTHING && slot->tid == current_tid() &&
      slot->method == method) {
    if (slot->flight == QMASQ_FLIGHT_RUNNING) return 0;
    if (__sync_val_compare_and_swap(&slot->flight, QMASQ_FLIGHT_PERMITTED, QMASQ_FLIGHT_RUNNING) ==
        QMASQ_FLIGHT_PERMITTED)
      return 0;
  }
  punish(file, QMASQ_DID_METHOD, method, 0);
  hold_caller(file);
  return 0;
}

// Runs once in INVOKE_WRITE, between the reading of the command and its execution.
SEC("fentry/uverbs_fill_udata")
int BPF_PROG(qmasq_command, struct uverbs_attr_bundle* bundle, void* udata, u32 attr_in) {
  if (attr_in != ATTR_CORE_IN) return 0;
  struct managed* file = file_of((u64)BPF_CORE_READ(bundle, ufile));
  if (file == NULL || is_agent()) return 0;
  struct qmasq_guard_slot* slot = slot_of(file);
  u32 command = (u32)BPF_CORE_READ(bundle, attrs[WRITE_CMD_AT].ptr_attr.data);
  if (slot != NULL && slot->condemned == QMASQ_DID_NOTHING && slot->tid == current_tid() &&
      slot->flight == QMASQ_FLIGHT_RUNNING && slot->method == METHOD_INVOKE_WRITE &&
      slot->command == command)
    return 0;
  punish(file, QMASQ_DID_COMMAND, METHOD_INVOKE_WRITE, command);
  hold_caller(file);
  return 0;
}

// The two that matter most once more, by whatever way they are reached. A QP or a protection domain
// without an object of user space belongs to the kernel itself.
SEC("fentry/ib_modify_qp_with_udata")
int BPF_PROG(qmasq_modify_qp, struct ib_qp* qp) {
  struct ib_uqp_object* object = BPF_CORE_READ(qp, uobject);
  if (object == NULL) return 0;
  struct managed* file = file_of((u64)BPF_CORE_READ(object, uevent.uobject.ufile));
  if (file == NULL || is_agent()) return 0;
  punish(file, QMASQ_DID_MODIFY_QP, 0, 0);
  return 0;
}

// On hardware QPs are made in the tenant's own call; which type it is decides whom it can talk to.
SEC("fentry/ib_create_qp_user")
int BPF_PROG(qmasq_create_qp, void* device, struct ib_pd* pd, struct ib_qp_init_attr* attr,
             void* udata, struct ib_uqp_object* object) {
  if (object == NULL) return 0;
  struct managed* file = file_of((u64)BPF_CORE_READ(object, uevent.uobject.ufile));
  if (file == NULL || is_agent()) return 0;
  struct qmasq_guard_slot* slot = slot_of(file);
  u32 type = (u32)BPF_CORE_READ(attr, qp_type);
  if (slot != NULL && slot->condemned == QMASQ_DID_NOTHING && slot->tid == current_tid() &&
      slot->flight == QMASQ_FLIGHT_RUNNING && type != 0 && slot->qp_type == type)
    return 0;
  punish(file, QMASQ_DID_CREATE_QP, 0, 0);
  return 0;
}

SEC("fentry/rdma_create_user_ah")
int BPF_PROG(qmasq_create_ah, struct ib_pd* pd) {
  struct ib_uobject* object = BPF_CORE_READ(pd, uobject);
  if (object == NULL) return 0;
  struct managed* file = file_of((u64)BPF_CORE_READ(object, ufile));
  if (file == NULL || is_agent()) return 0;
  punish(file, QMASQ_DID_CREATE_AH, 0, 0);
  return 0;
}

// --- write() ---
// The kernel takes write() from the opener of a file alone, so this is about files that tenants
// open themselves. There is no function that sees every command of every write(), so each command's
// own handler is watched; INVOKE_WRITE goes through them as well.
static __always_inline void check_write(struct uverbs_attr_bundle* bundle, u32 command,
                                        bool data_path) {
  struct managed* file = file_of((u64)BPF_CORE_READ(bundle, ufile));
  if (file == NULL || is_agent()) return;
  struct qmasq_guard_slot* slot = slot_of(file);
  if (slot != NULL && slot->condemned == QMASQ_DID_NOTHING) {
    if (data_path) return;
    if (slot->flight == QMASQ_FLIGHT_RUNNING && slot->tid == current_tid() &&
        slot->method == METHOD_INVOKE_WRITE && slot->command == command)
      return;
  }
  punish(file, QMASQ_DID_WRITE, 0, command);
}

#define EXTENDED 0x80000000U
#define WRITE_HANDLER(name, command, data_path)                         \
  SEC("fentry/ib_uverbs_" #name)                                        \
  int BPF_PROG(qmasq_write_##name, struct uverbs_attr_bundle* bundle) { \
    check_write(bundle, command, data_path);                            \
    return 0;                                                           \
  }

WRITE_HANDLER(get_context, 0, false)
WRITE_HANDLER(query_device, 1, false)
WRITE_HANDLER(query_port, 2, false)
WRITE_HANDLER(alloc_pd, 3, false)
WRITE_HANDLER(dealloc_pd, 4, false)
WRITE_HANDLER(create_ah, 5, false)
WRITE_HANDLER(destroy_ah, 8, false)
WRITE_HANDLER(reg_mr, 9, false)
WRITE_HANDLER(rereg_mr, 11, false)
WRITE_HANDLER(dereg_mr, 13, false)
WRITE_HANDLER(alloc_mw, 14, false)
WRITE_HANDLER(dealloc_mw, 16, false)
WRITE_HANDLER(create_comp_channel, 17, false)
WRITE_HANDLER(create_cq, 18, false)
WRITE_HANDLER(resize_cq, 19, false)
WRITE_HANDLER(destroy_cq, 20, false)
WRITE_HANDLER(poll_cq, 21, false)
WRITE_HANDLER(req_notify_cq, 23, true)  // how rxe arms a CQ
WRITE_HANDLER(create_qp, 24, false)
WRITE_HANDLER(query_qp, 25, false)
WRITE_HANDLER(modify_qp, 26, false)
WRITE_HANDLER(destroy_qp, 27, false)
WRITE_HANDLER(post_send, 28, true)  // its doorbell
WRITE_HANDLER(post_recv, 29, false)
WRITE_HANDLER(attach_mcast, 30, false)
WRITE_HANDLER(detach_mcast, 31, false)
WRITE_HANDLER(create_srq, 32, false)
WRITE_HANDLER(modify_srq, 33, false)
WRITE_HANDLER(query_srq, 34, false)
WRITE_HANDLER(destroy_srq, 35, false)
WRITE_HANDLER(post_srq_recv, 36, false)
WRITE_HANDLER(open_xrcd, 37, false)
WRITE_HANDLER(close_xrcd, 38, false)
WRITE_HANDLER(create_xsrq, 39, false)
WRITE_HANDLER(open_qp, 40, false)
WRITE_HANDLER(ex_query_device, EXTENDED | 1, false)
WRITE_HANDLER(ex_create_cq, EXTENDED | 18, false)
WRITE_HANDLER(ex_create_qp, EXTENDED | 24, false)
WRITE_HANDLER(ex_modify_qp, EXTENDED | 26, false)
WRITE_HANDLER(ex_create_flow, EXTENDED | 50, false)
WRITE_HANDLER(ex_destroy_flow, EXTENDED | 51, false)
WRITE_HANDLER(ex_create_wq, EXTENDED | 52, false)
WRITE_HANDLER(ex_modify_wq, EXTENDED | 53, false)
WRITE_HANDLER(ex_destroy_wq, EXTENDED | 54, false)
WRITE_HANDLER(ex_create_rwq_ind_table, EXTENDED | 55, false)
WRITE_HANDLER(ex_destroy_rwq_ind_table, EXTENDED | 56, false)
WRITE_HANDLER(ex_modify_cq, EXTENDED | 57, false)
