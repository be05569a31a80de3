#!/usr/bin/env bash
# Gives the tests a real inference server: llama.cpp's own, compiled from the source that one pinned
# release of the llama-cpp-python package carries, and a Python with the pinned `openai` client.
#
#   tests/slm/build.sh [server|client|all|static|uvicorn]          (default: all)
#
# `all` is the server and the client. `static` links the compiled server anew with OpenSSL inside it.
# `uvicorn` makes the environment able to run `python -m llama_cpp.server`, on the server's libraries.
# Everything lands in ${XDG_CACHE_HOME:-~/.cache}/audit-agent/slm and is made once: the compilation
# takes 5 to 15 minutes on two cores. Packages come from the index that pip is configured for.
# Progress goes to stderr; stdout says `server PATH`, `static PATH` and `python PATH`.
# Needs: python3 with venv, a C++17 compiler, OpenSSL's headers.
set -euo pipefail

readonly RELEASE=0.3.36
readonly RELEASE_SHA256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
readonly OPENAI=3.52.0
# The package leaves open which releases its server runs on.
readonly UVICORN=(uvicorn==0.54.0 fastapi==0.165.0 starlette==1.10.0 sse-starlette==3.7.0
  pydantic-settings==2.16.3 starlette-context==0.3.6)

readonly CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/audit-agent/slm
readonly SOURCE=$CACHE/src-$RELEASE
readonly BUILD=$CACHE/build-$RELEASE-shared
readonly STATIC=$BUILD/bin/llama-server-static
readonly VENV=$CACHE/venv
export PIP_DISABLE_PIP_VERSION_CHECK=1

log() { echo "slm: $*" >&2; }
fail() { log "$*"; exit 1; }

need_venv() {
  [ -x "$VENV/bin/pip" ] && return
  log "making a Python environment"
  python3 -m venv "$VENV" >&2 || fail "python3 cannot make a venv; install python3-venv"
}

need_source() {
  [ -f "$SOURCE/.complete" ] && return
  need_venv
  log "fetching llama-cpp-python $RELEASE"
  local archive=$CACHE/sdist/llama_cpp_python-$RELEASE.tar.gz
  # Only this package as source: with `:all:` pip would compile its build tools from source as well.
  "$VENV/bin/pip" download --quiet --no-deps --no-binary llama-cpp-python \
    --dest "$CACHE/sdist" "llama-cpp-python==$RELEASE" >&2
  sha256sum --check --status <<<"$RELEASE_SHA256  $archive" \
    || fail "the archive is not the pinned one; remove $archive and find out why"
  rm -rf "$SOURCE"
  mkdir -p "$SOURCE"
  tar --extract --gzip --file "$archive" --directory "$SOURCE" --strip-components=1
  touch "$SOURCE/.complete"
}

need_server() {
  [ -f "$BUILD/.complete" ] && return
  need_source
  command -v c++ >/dev/null || fail "no C++ compiler; install g++"
  PATH=$VENV/bin:$PATH
  command -v cmake >/dev/null || pip install --quiet cmake >&2
  local generator=()
  if command -v ninja >/dev/null; then generator=(-G Ninja); fi
  log "compiling llama-server (minutes)"
  # GIT_DIR points nowhere, else the build stamps the commit of whatever repository surrounds the cache.
  GIT_DIR=$CACHE/none cmake -S "$SOURCE/vendor/llama.cpp" -B "$BUILD" "${generator[@]}" \
    -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DCMAKE_BUILD_RPATH_USE_ORIGIN=ON \
    -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DLLAMA_OPENSSL=ON -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF \
    -DLLAMA_USE_PREBUILT_UI=OFF >&2
  GIT_DIR=$CACHE/none nice cmake --build "$BUILD" --target llama-server --parallel 2 >&2
  "$BUILD/bin/llama-server" --version >&2 || fail "the compiled server does not start"
  touch "$BUILD/.complete"
}

# All objects of the server in one executable, so that OpenSSL is in it too. What does no TLS stays a
# shared library. Nothing is compiled.
need_static() {
  need_server
  [ -x "$STATIC" ] && return
  log "linking llama-server with a static OpenSSL"
  (
    cd "$BUILD"
    mapfile -t objects < <(find tools/server/CMakeFiles/llama-server{,-impl}.dir \
      common/CMakeFiles/llama-common.dir -name '*.o')
    c++ -o "$STATIC.new" "${objects[@]}" tools/server/libserver-context.a tools/ui/libllama-ui.a \
      vendor/cpp-httplib/libcpp-httplib.a common/libllama-common-base.a \
      bin/lib{mtmd,llama,ggml,ggml-cpu,ggml-base}.so -Wl,-rpath,"\$ORIGIN" \
      -Wl,-Bstatic -lssl -lcrypto -Wl,-Bdynamic -ldl -lpthread >&2
  ) || fail "linking with libssl.a failed; install libssl-dev"
  mv "$STATIC.new" "$STATIC"
}

need_uvicorn() {
  local stamp=$VENV/.llama-cpp-python-$RELEASE site
  [ -f "$stamp" ] && return
  need_server
  log "installing llama-cpp-python $RELEASE with its server"
  CMAKE_ARGS='-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF' "$VENV/bin/pip" install --quiet \
    "$SOURCE[server]" "${UVICORN[@]}" >&2
  site=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
  rm -rf "$site/llama_cpp/lib"
  ln -s "$BUILD/bin" "$site/llama_cpp/lib"
  "$VENV/bin/python" -c 'import llama_cpp.server.app' >&2 || fail "the installed package does not load"
  touch "$stamp"
}

need_client() {
  local stamp=$VENV/.openai-$OPENAI
  [ -f "$stamp" ] && return
  need_venv
  log "installing the openai client $OPENAI"
  "$VENV/bin/pip" install --quiet "openai==$OPENAI" >&2
  touch "$stamp"
}

what=${1:-all}
mkdir -p "$CACHE"
exec 9>"$CACHE/.lock"
flock 9
case $what in
  server) need_server ;;
  client) need_client ;;
  all) need_server; need_client ;;
  static) need_static ;;
  uvicorn) need_uvicorn ;;
  *) sed -n '2,/^set -/{/^#/p}' "$0" >&2; exit 2 ;;
esac
echo "server $BUILD/bin/llama-server"
echo "static $STATIC"
echo "python $VENV/bin/python"
