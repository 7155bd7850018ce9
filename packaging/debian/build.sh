#!/usr/bin/env bash
# Builds build/trigpoint_VERSION_ARCH.deb: Trigpoint and all that it needs from PyPI, as uv.lock pins it, in one folder of
# its own, run by the Python of Debian. For the architecture and the Debian release of the machine that builds it.
set -euo pipefail
cd "$(dirname "$0")/../.."

for tool in uv dpkg-deb; do
  command -v "$tool" >/dev/null || { echo "error: there is no $tool here; run \`make setup\`, and on a Debian system"; exit 1; }
done
test -f gateway/trigpoint/web/vendor/NOTICE.txt || { echo "error: the board page's libraries are missing; run \`make setup\`"; exit 1; }
# The packaged programs begin with this path, so it is to be Debian's own and not one on somebody's PATH.
python=/usr/bin/python3
test -x "$python" || { echo "error: there is no $python here; apt install python3"; exit 1; }

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml | head -1)
architecture=$(dpkg --print-architecture)
minor=$("$python" -c 'import sys; print(sys.version_info[1])')
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH

work=build/deb
root=$work/root
home=usr/lib/trigpoint
package=build/trigpoint_${version}_${architecture}.deb
rm -rf "$work"
mkdir -p "$root/$home" "$root/usr/bin" "$root/usr/lib/systemd/system" "$root/usr/share/doc/trigpoint" \
  "$root/usr/share/lintian/overrides" "$root/etc/default" "$root/DEBIAN"

echo "[deb 1/3] the wheel, and what it needs"
uv build --quiet --wheel --out-dir "$work/wheel"
uv export --quiet --frozen --no-dev --no-emit-project --output-file "$work/requirements.txt" >/dev/null
uv venv --quiet --relocatable --python "$python" "$root/$home"
# Links into the cache would make the package change with it. Hashes are those of the lock.
uv pip install --quiet --link-mode copy --python "$root/$home/bin/python" --no-deps --require-hashes \
  -r "$work/requirements.txt"
uv pip install --quiet --link-mode copy --python "$root/$home/bin/python" --no-deps "$work"/wheel/*.whl
# What only compilers and developers of these libraries need: a third of the size.
site=$root/$home/lib/python3.$minor/site-packages
rm -rf "$site"/pyarrow/{include,src,tests} "$site"/Crypto/SelfTest "$root/$home"/{.gitignore,.lock,CACHEDIR.TAG} \
  "$root/$home"/bin/[Aa]ctivate* "$root/$home"/bin/deactivate*
find "$root/$home/bin" -type f ! -name trigpoint -delete
# Compiled here, for nobody may write there later; by hash, so that no file's time matters.
"$python" -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$root" -p / "$site"

echo "[deb 2/3] units, documents, scripts"
ln -s ../lib/trigpoint/bin/trigpoint "$root/usr/bin/trigpoint"
install -m 644 packaging/systemd/*.service packaging/systemd/*.socket "$root/usr/lib/systemd/system/"
install -m 644 packaging/debian/trigpoint-gateway.default "$root/etc/default/trigpoint-gateway"
install -m 644 packaging/debian/copyright docs/operating.md docs/protocol.md docs/dependencies.md \
  docs/browser.md packaging/prometheus/trigpoint.rules.yml "$root/usr/share/doc/trigpoint/"
install -m 644 packaging/grafana/trigpoint.json "$root/usr/share/doc/trigpoint/grafana-dashboard.json"
install -m 644 packaging/debian/lintian-overrides "$root/usr/share/lintian/overrides/trigpoint"
printf 'trigpoint (%s) unstable; urgency=medium\n\n  * Built from %s.\n\n -- Trigpoint <trigpoint@localhost>  %s\n' \
  "$version" "$(git rev-parse --short HEAD 2>/dev/null || echo 'a copy')" "$(date -Ru -d "@$SOURCE_DATE_EPOCH")" \
  | gzip -9n > "$root/usr/share/doc/trigpoint/changelog.gz"
chmod -R u=rwX,go=rX "$root"

install -m 755 packaging/debian/{postinst,prerm,postrm} "$root/DEBIAN/"
echo /etc/default/trigpoint-gateway > "$root/DEBIAN/conffiles"
size=$(du -sk --exclude=DEBIAN "$root" | cut -f1)
sed -e "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@SIZE@/$size/" \
  -e "s/@PYTHON@/python3 (>= 3.$minor), python3 (<< 3.$((minor + 1)))/" packaging/debian/control > "$root/DEBIAN/control"
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum > DEBIAN/md5sums)

echo "[deb 3/3] $package"
dpkg-deb --root-owner-group -Zxz -z"${DEB_COMPRESSION:-6}" --threads-max="$(nproc)" --build "$root" "$package" >/dev/null 2>&1 \
  || dpkg-deb --root-owner-group -Zxz -z"${DEB_COMPRESSION:-6}" --build "$root" "$package" >/dev/null
ls -l "$package" | awk '{printf "%s, %.0f MB\n", $NF, $5 / 1e6}'
