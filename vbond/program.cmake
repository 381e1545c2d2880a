# SPDX-License-Identifier: Apache-2.0
qmasq_program(qmasq-vbond
  SOURCES main.cc
  LIBS qmasq_agent qmasq_common qmasq_metrics)
