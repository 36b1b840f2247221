# `node-gyp rebuild`: the same addon from the same source list as CMakeLists.txt, which is the build that `npm ci` uses. libtorch is
# found as there; see scripts/gyp.mjs.
{
  "variables": {
    "libtorch%": "<!(node scripts/gyp.mjs libtorch)"
  },
  "target_defaults": {
    "include_dirs": ["<!(node scripts/gyp.mjs node-addon-api)", "native"],
    "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_DISABLE_DEPRECATED", "NAPI_CPP_EXCEPTIONS",
      "NODE_ADDON_API_CPP_EXCEPTIONS_ALL", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
    "cflags!": ["-fno-exceptions", "-fno-omit-frame-pointer"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
    "cflags_cc": ["-std=c++20", "-O3", "-Wall", "-Wextra", "-Wno-unused-parameter", "-ffp-contract=off",
                  "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"],
    "xcode_settings": {
      "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
      "GCC_ENABLE_CPP_RTTI": "YES",
      "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
      "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
      "OTHER_CFLAGS": ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
    }
  },
  "targets": [
    {
      "target_name": "rkif",
      "sources": ["<!@(node scripts/gyp.mjs sources core addon)"],
      "defines": ["RKIF_KERNELS=\"<!(node scripts/gyp.mjs kernels)\""],
      "cflags_cc": [
        "-fopenmp",
        "-isystem", "<(libtorch)/include",
        "-isystem", "<(libtorch)/include/torch/csrc/api/include"
      ],
      "xcode_settings": {
        "OTHER_CPLUSPLUSFLAGS": [
          "-Xclang", "-fopenmp",
          "-isystem", "<(libtorch)/include",
          "-isystem", "<(libtorch)/include/torch/csrc/api/include"
        ]
      },
      "libraries": ["-L<(libtorch)/lib", "-ltorch_cpu", "-lc10"],
      "ldflags": ["-Wl,--as-needed", "-Wl,--allow-shlib-undefined", "-Wl,-z,now", "-Wl,-z,nodelete"],
      "actions": [
        {
          "action_name": "rkif_info",
          "inputs": ["native/sources.json"],
          "outputs": ["<(PRODUCT_DIR)/rkif.json"],
          "action": ["node", "scripts/gyp.mjs", "info", "<(libtorch)", "<(PRODUCT_DIR)/rkif.json"]
        }
      ]
    },
    {
      "target_name": "rkif_preload",
      "sources": ["<!@(node scripts/gyp.mjs sources preload)"],
      "libraries": ["-ldl"]
    }
  ]
}
