# librkif_cuda.so: the kernels for NVIDIA's GPUs (-DRKIF_CUDA=ON, target rkif_cuda; `npm run compile:cuda` does all of it). Builds without a
# GPU and without a driver. nvcc is called by rules of our own instead of CMake's CUDA language, whose search for a toolkit's parts depends
# on CMake's version and expects a system's installation, while nvcc may lie where pip's wheels were unpacked.
# RKIF_CUDA_TOOLKIT: a folder that holds bin/nvcc, include/ and lib/ or lib64/.
set(RKIF_CUDA_TOOLKIT "" CACHE PATH "folder of the CUDA toolkit (holds bin/nvcc)")
# What kernels are compiled for; later cards compile them from the PTX of the last one.
set(RKIF_CUDA_ARCHITECTURES 80 86 89 90)

if(CMAKE_VERSION VERSION_LESS 3.20)
  message(FATAL_ERROR "RKIF_CUDA needs CMake 3.20 or newer (found ${CMAKE_VERSION})")
endif()
cmake_policy(SET CMP0116 NEW)  # dependency files as CMake's generators expect them
set(RKIF_NVCC "${RKIF_CUDA_TOOLKIT}/bin/nvcc")
if(NOT EXISTS "${RKIF_NVCC}")
  message(FATAL_ERROR "RKIF_CUDA_TOOLKIT (\"${RKIF_CUDA_TOOLKIT}\") has no bin/nvcc: run `npm run compile:cuda`, which finds or fetches nvcc")
endif()
if(NOT EXISTS "${RKIF_LIBTORCH}/lib/libc10_cuda.so")
  message(FATAL_ERROR "${RKIF_LIBTORCH} has no lib/libc10_cuda.so: run `npm run compile:cuda`, or pass a libtorch with CUDA")
endif()
execute_process(COMMAND ${RKIF_NVCC} --version OUTPUT_VARIABLE version RESULT_VARIABLE status)
if(NOT status EQUAL 0 OR NOT version MATCHES "release ([0-9]+)[.]([0-9]+)")
  message(FATAL_ERROR "${RKIF_NVCC} --version failed (${status}): ${version}")
endif()
set(RKIF_CUDA_MAJOR ${CMAKE_MATCH_1})
set(RKIF_CUDA_VERSION ${CMAKE_MATCH_1}.${CMAKE_MATCH_2})
set(RKIF_CUDART "")
set(RKIF_CUDART_STATIC "")
foreach(folder lib lib64 targets/x86_64-linux/lib targets/sbsa-linux/lib)
  if(NOT RKIF_CUDART AND EXISTS "${RKIF_CUDA_TOOLKIT}/${folder}/libcudart.so.${RKIF_CUDA_MAJOR}")
    set(RKIF_CUDART "${RKIF_CUDA_TOOLKIT}/${folder}/libcudart.so.${RKIF_CUDA_MAJOR}")
  endif()
  if(NOT RKIF_CUDART_STATIC AND EXISTS "${RKIF_CUDA_TOOLKIT}/${folder}/libcudart_static.a")
    set(RKIF_CUDART_STATIC "${RKIF_CUDA_TOOLKIT}/${folder}/libcudart_static.a")
  endif()
endforeach()
if(NOT RKIF_CUDART)
  message(FATAL_ERROR "${RKIF_CUDA_TOOLKIT} has no libcudart.so.${RKIF_CUDA_MAJOR}")
endif()

set(generate "")
foreach(architecture ${RKIF_CUDA_ARCHITECTURES})
  list(APPEND generate -gencode arch=compute_${architecture},code=sm_${architecture})
endforeach()
list(GET RKIF_CUDA_ARCHITECTURES -1 newest)
list(APPEND generate -gencode arch=compute_${newest},code=compute_${newest})
# -lineinfo costs nothing at run time and lets a profiler name the lines; compressed for size, the library takes a fifth (it is unpacked once,
# when it is loaded).
set(RKIF_NVCC_FLAGS -ccbin ${CMAKE_CXX_COMPILER} -std=c++20 -O3 -lineinfo --compress-mode=size --expt-relaxed-constexpr ${generate}
  -Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-ffp-contract=off
  -I${CMAKE_CURRENT_SOURCE_DIR}/native -isystem ${RKIF_LIBTORCH}/include -isystem ${RKIF_LIBTORCH}/include/torch/csrc/api/include)

# Adds a rule for one .cu file and its object to the list `out`.
function(rkif_compile_cuda out source)
  file(RELATIVE_PATH name ${CMAKE_CURRENT_SOURCE_DIR} ${source})
  set(object ${CMAKE_CURRENT_BINARY_DIR}/cuda/${name}.o)
  get_filename_component(folder ${object} DIRECTORY)
  file(MAKE_DIRECTORY ${folder})
  # A file's first line may ask for flags of its own: "// nvcc: -fmad=false" for arithmetic with the CPU's bits.
  file(STRINGS ${source} first LIMIT_COUNT 1)
  set(flags "")
  if(first MATCHES "^// nvcc: (.+)$")
    separate_arguments(flags UNIX_COMMAND "${CMAKE_MATCH_1}")
  endif()
  add_custom_command(OUTPUT ${object}
    COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${RKIF_NVCC} ${RKIF_NVCC_FLAGS} ${flags} -MD -MF ${object}.d -c ${source} -o ${object}
    DEPENDS ${source} ${RKIF_NVCC} DEPFILE ${object}.d COMMENT "Building CUDA object ${name}.o" VERBATIM)
  set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  set(${out} ${${out}} ${object} PARENT_SCOPE)
endfunction()

# The kernels, and what belongs to the library alone.
rkif_sources(CUDA cuda)
rkif_sources(CUDA_HOST cuda_library)
list(APPEND CUDA_HOST ${CUDA})
list(FILTER CUDA_HOST EXCLUDE REGEX "[.]cu$")
list(FILTER CUDA INCLUDE REGEX "[.]cu$")
set(CUDA_OBJECTS "")
foreach(source ${CUDA})
  rkif_compile_cuda(CUDA_OBJECTS ${source})
endforeach()

add_library(rkif_cuda SHARED EXCLUDE_FROM_ALL ${CUDA_HOST} ${CUDA_OBJECTS})
target_link_libraries(rkif_cuda PRIVATE rkif_options c10_cuda torch_cpu c10 ${RKIF_CUDART})
target_include_directories(rkif_cuda SYSTEM PRIVATE ${RKIF_CUDA_TOOLKIT}/include)
string(REPLACE ";" "," architectures "${RKIF_CUDA_ARCHITECTURES}")
target_compile_definitions(rkif_cuda PRIVATE RKIF_CUDA_ARCHITECTURES="${architectures}" RKIF_KERNELS="${RKIF_KERNELS}")
# What is missing shows here, not when a GPU is first asked for.
target_link_options(rkif_cuda PRIVATE -Wl,-z,defs -Wl,-z,now)
set_target_properties(rkif_cuda PROPERTIES LINKER_LANGUAGE CXX)
rkif_info(rkif_cuda rkif_cuda.json
  "{\"libtorch\": \"${RKIF_LIBTORCH_VERSION}\", \"cuda\": \"${RKIF_CUDA_VERSION}\", \"architectures\": [${architectures}], \"kernels\": \"${RKIF_KERNELS}\"}\n")

# What a program of its own needs of CUDA: headers, and the runtime, static where the toolkit has it.
find_package(Threads REQUIRED)
function(rkif_card_program target)
  target_include_directories(${target} SYSTEM PRIVATE ${RKIF_CUDA_TOOLKIT}/include)
  if(RKIF_CUDART_STATIC)
    target_link_libraries(${target} PRIVATE ${RKIF_CUDART_STATIC} Threads::Threads ${CMAKE_DL_LIBS} rt)
  else()
    target_link_libraries(${target} PRIVATE ${RKIF_CUDART} Threads::Threads)
  endif()
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX)
endfunction()

# Measures the kernels on a card and checks them there (`npm run benchmark -- kernels --device cuda`). It needs nothing of libtorch and, where
# the toolkit has a static runtime, no library but the driver's: built here, it can be carried to a machine with a GPU.
set(BENCHMARK_OBJECTS ${CUDA_OBJECTS})
set(benchmarks ${CMAKE_CURRENT_SOURCE_DIR}/examples/benchmarks/native)
rkif_compile_cuda(BENCHMARK_OBJECTS ${benchmarks}/cuda_vectors.cu)
add_executable(rkif_cuda_kernels_benchmark EXCLUDE_FROM_ALL ${benchmarks}/cuda_kernels_benchmark.cc ${benchmarks}/cuda_device.cc
  ${benchmarks}/cuda_exactness.cc native/kernels/cuda/cuda_kernels.cc ${BENCHMARK_OBJECTS})
target_include_directories(rkif_cuda_kernels_benchmark PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/native)
target_compile_options(rkif_cuda_kernels_benchmark PRIVATE -Wall -Wextra -Wno-unused-parameter)
rkif_card_program(rkif_cuda_kernels_benchmark)

# The tests of the kernels, and of models with them, on a card (test/native/cuda/card.cc). libtorch's CPU half is found at run time, through
# LD_LIBRARY_PATH.
rkif_sources(CARD_TESTS card_tests)
add_executable(rkif_cuda_tests EXCLUDE_FROM_ALL ${CARD_TESTS} native/kernels/cuda/cuda_kernels.cc ${CUDA_OBJECTS})
target_include_directories(rkif_cuda_tests PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/test/native ${CMAKE_CURRENT_SOURCE_DIR}/test/native/cuda)
target_compile_definitions(rkif_cuda_tests PRIVATE RKIF_ON_CARD)
target_link_libraries(rkif_cuda_tests PRIVATE rkif_core torch_cpu c10 OpenMP::OpenMP_CXX)
rkif_card_program(rkif_cuda_tests)
target_link_options(rkif_cuda_tests PRIVATE -s)
