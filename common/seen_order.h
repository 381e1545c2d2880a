// SPDX-License-Identifier: Apache-2.0
#pragma once

#if defined(__SANITIZE_THREAD__)
#define QMASQ_UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define QMASQ_UNDER_TSAN 1
#endif
#endif

#ifdef QMASQ_UNDER_TSAN
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#endif

namespace qmasq {

// Tells ThreadSanitizer of an order that something else keeps, and that it cannot see: callbacks of
// gRPC, whose locks are in a library built without it, or two ends of a socket. Scopes with the
// same `object` are taken to come one after the other. It keeps no order itself, and is nothing in
// other builds.
class SeenOrder {
 public:
  explicit SeenOrder([[maybe_unused]] const void* object) {
#ifdef QMASQ_UNDER_TSAN
    object_ = const_cast<void*>(object);
    __tsan_acquire(object_);
#endif
  }
  ~SeenOrder() {
#ifdef QMASQ_UNDER_TSAN
    __tsan_release(object_);
#endif
  }
  SeenOrder(const SeenOrder&) = delete;
  SeenOrder& operator=(const SeenOrder&) = delete;

#ifdef QMASQ_UNDER_TSAN
 private:
  void* object_;
#endif
};

}  // namespace qmasq
