# SPDX-License-Identifier: Apache-2.0
# What all of our targets share. Requirements sit on targets; a folder is one library.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

# Flags for our own code only: generated code and system headers are not ours to mend.
add_library(qmasq_flags INTERFACE)
target_compile_options(qmasq_flags INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor
                                             -Woverloaded-virtual -Werror -fno-omit-frame-pointer)
target_include_directories(qmasq_flags INTERFACE ${CMAKE_SOURCE_DIR})
if(QMASQ_SANITIZE)
  target_compile_options(qmasq_flags INTERFACE -fsanitize=${QMASQ_SANITIZE}
                                               -fno-sanitize-recover=all)
  target_link_options(qmasq_flags INTERFACE -fsanitize=${QMASQ_SANITIZE})
endif()
if(QMASQ_FUZZ)
  # Coverage counters in all of our code: without them libFuzzer only guesses.
  target_compile_options(qmasq_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(qmasq_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# qmasq_library(NAME SOURCES ... [PUBLIC libs...] [PRIVATE libs...])
function(qmasq_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_link_libraries(${name} PUBLIC ${arg_PUBLIC} PRIVATE qmasq_flags ${arg_PRIVATE})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
endfunction()

# qmasq_program(NAME SOURCES ... LIBS ...)
function(qmasq_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE qmasq_flags ${arg_LIBS})
endfunction()

# qmasq_test(NAME LABEL unit|integration SOURCES ... LIBS ... [TIMEOUT seconds])
# One gtest program is one ctest test: our machines start processes slower than cases run.
function(qmasq_test name)
  if(NOT QMASQ_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "" "LABEL;TIMEOUT" "SOURCES;LIBS" ${ARGN})
  find_package(GTest REQUIRED)
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE qmasq_flags ${arg_LIBS} GTest::gtest GTest::gmock
                                        GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  # Brief: whoever reads ctest's output, cut short maybe, finds what failed.
  set(environment GTEST_BRIEF=1)
  if(QMASQ_SANITIZE MATCHES thread)
    list(APPEND environment "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/tsan.supp")
  endif()
  set_tests_properties(${name} PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT}
                       ENVIRONMENT "${environment}")
endfunction()

# qmasq_fuzz(NAME CORPUS dir SOURCES ... LIBS ...), in the folder tests/fuzz/NAME.
# The source defines LLVMFuzzerTestOneInput. With QMASQ_FUZZ it becomes a libFuzzer program in
# bin/fuzz; in every build its corpus is replayed as an ordinary unit test.
function(qmasq_fuzz name)
  cmake_parse_arguments(arg "" "CORPUS" "SOURCES;LIBS" ${ARGN})
  if(QMASQ_FUZZ)
    add_executable(${name} ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE qmasq_flags ${arg_LIBS})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/fuzz)
    if(NOT TARGET fuzz)
      add_custom_target(fuzz)
    endif()
    add_dependencies(fuzz ${name})
  endif()
  if(QMASQ_TESTS)
    add_executable(${name}_replay ${arg_SOURCES} ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.cc)
    target_link_libraries(${name}_replay PRIVATE qmasq_flags ${arg_LIBS})
    set_target_properties(${name}_replay PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                                                    ${CMAKE_BINARY_DIR}/tests)
    add_test(NAME ${name}_replay COMMAND ${name}_replay ${CMAKE_CURRENT_SOURCE_DIR}/${arg_CORPUS})
    set_tests_properties(${name}_replay PROPERTIES LABELS unit TIMEOUT 60)
  endif()
endfunction()

# qmasq_script_test(NAME LABEL unit|integration|lab SCRIPT file.py [ARGS ...] [TIMEOUT seconds])
# A Python test on Debian's interpreter; `import labkit` works. One lab test runs at a time: hosts
# under emulation need the machine for themselves.
function(qmasq_script_test name)
  if(NOT QMASQ_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "" "LABEL;SCRIPT;TIMEOUT" "ARGS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  add_test(NAME ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
           COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/${arg_SCRIPT} ${arg_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT}
                       ENVIRONMENT PYTHONPATH=${CMAKE_SOURCE_DIR}/lab)
  if(arg_LABEL STREQUAL lab)
    set_tests_properties(${name} PROPERTIES RESOURCE_LOCK lab RUN_SERIAL ON)
  endif()
endfunction()
