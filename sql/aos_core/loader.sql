create function aos_core._load() returns void
    language plpython3u security definer set search_path = pg_catalog, pg_temp
as $$
# The directory is looked up at run time: a path in this body would survive pg_upgrade and name the old server's.
import gc, os, sys
facts = plpy.execute("select (select c.setting from pg_catalog.pg_config() as c where c.name = 'PKGLIBDIR') as pkglibdir,"
    " pg_catalog.current_setting('dynamic_library_path') as search,"
    " (select e.extversion from pg_catalog.pg_extension as e where e.extname = 'pgagentos') as version")[0]
places = [p.replace('$libdir', facts['pkglibdir']) for p in facts['search'].split(':') if p] + [facts['pkglibdir']]
base = next((b for b in (os.path.join(p, 'pgagentos') for p in places) if os.path.isfile(os.path.join(b, 'kernel', 'VERSION'))), None)
if base is None:
    plpy.error('the Python package of pgagentos is not installed beside this server', sqlstate='OS901',
        hint='Run "make install" for the server of this pg_config, then reconnect.', detail='Looked below: ' + ', '.join(places))
with open(os.path.join(base, 'kernel', 'VERSION')) as file:
    installed = file.read().strip()
if installed != facts['version']:
    plpy.error('this database has pgagentos %s, but its server has the Python package of %s' % (facts['version'], installed),
        sqlstate='OS901', hint='ALTER EXTENSION pgagentos UPDATE; takes the database to the version of the server. If the server has'
            ' the older one, run "make install" of %s for it and reconnect.' % facts['version'])
for part in ('site-%d.%d' % sys.version_info[:2], 'kernel'):
    path = os.path.join(base, part)
    if path not in sys.path:
        sys.path.insert(0, path)
# A collection in the middle of the imports would only walk objects that stay for the session's life.
gc.disable()
from pgagentos.entry import call
gc.freeze()
gc.enable()
GD['pgagentos'] = call
$$;
comment on function aos_core._load() is 'Finds the Python package of this server, once per session; an error when it is of another version.';
-- Security definer because pg_config() is for superusers only. The function has no parameter and what it finds is
-- decided by the server's files and by a setting that only a superuser can set.
