# Only onnxruntime's headers are needed to build: the programs open its library when they start,
# and look for it in runtime/ beside build/, and where the system keeps libraries.
find_path(ONNXRUNTIME_INCLUDE onnxruntime_c_api.h
  HINTS "${CMAKE_CURRENT_SOURCE_DIR}/runtime/include"
  PATH_SUFFIXES onnxruntime onnxruntime/core/session)
if(NOT ONNXRUNTIME_INCLUDE)
  message(FATAL_ERROR "onnxruntime_c_api.h is missing; ./get-runtime.sh brings it")
endif()
set(CMAKE_BUILD_RPATH "$ORIGIN/../runtime/${CMAKE_SYSTEM_PROCESSOR}")
