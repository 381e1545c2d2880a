# SPDX-License-Identifier: Apache-2.0
# What CPack makes of the components. dpkg-shlibdeps finds the libraries that each needs.
set(CPACK_GENERATOR DEB)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL cli controller vbond monitoring)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_PACKAGE_VENDOR qmasq)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_STRIP_FILES ON)
# For /etc and /lib beside /usr.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_VERBATIM_VARIABLES ON)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "qmasq maintainers <maintainers@qmasq.invalid>")
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)

# Users and directories are systemd's business, even where it is not process 1.
set(accounts "systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles")
set(control ${CMAKE_CURRENT_SOURCE_DIR}/deb)

set(CPACK_DEBIAN_CLI_PACKAGE_NAME qmasq)
set(CPACK_COMPONENT_CLI_DESCRIPTION
"The command line: administers VPCs, endpoints, security groups and limits,
shows what happens on hosts, and starts programs in endpoints.")

set(CPACK_DEBIAN_CONTROLLER_PACKAGE_NAME qmasq-controller)
set(CPACK_DEBIAN_CONTROLLER_PACKAGE_DEPENDS "${accounts}")
set(CPACK_DEBIAN_CONTROLLER_PACKAGE_RECOMMENDS "qmasq (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_CONTROLLER_PACKAGE_CONTROL_EXTRA
  ${control}/controller/conffiles ${control}/controller/postinst ${control}/controller/prerm
  ${control}/controller/postrm)
set(CPACK_COMPONENT_CONTROLLER_DESCRIPTION
"The controller: holds VPCs, endpoints, security groups, policies and hosts, and
brings every host up to date.")

set(CPACK_DEBIAN_VBOND_PACKAGE_NAME qmasq-vbond)
set(CPACK_DEBIAN_VBOND_PACKAGE_DEPENDS "${accounts}")
set(CPACK_DEBIAN_VBOND_PACKAGE_RECOMMENDS "qmasq (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_VBOND_PACKAGE_CONTROL_EXTRA
  ${control}/vbond/conffiles ${control}/vbond/postinst ${control}/vbond/prerm
  ${control}/vbond/postrm)
set(CPACK_COMPONENT_VBOND_DESCRIPTION
"The agent of a host: gives programs of VPC endpoints their RDMA, and keeps what
they have open while it is started again (qmasq-keeper).")

set(CPACK_DEBIAN_MONITORING_PACKAGE_NAME qmasq-monitoring)
set(CPACK_DEBIAN_MONITORING_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_MONITORING_PACKAGE_SHLIBDEPS OFF)
set(CPACK_COMPONENT_MONITORING_DESCRIPTION
"Grafana dashboards and Prometheus rules, as plain files.")

include(CPack)
