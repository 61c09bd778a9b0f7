create function aos_core.check_installation(out component text, out status text, out detail text, out hint text) returns setof record
    language plpython3u volatile security definer set search_path = pg_catalog, pg_temp
as $$
if 'pgagentos' not in GD: __import__('ctypes').PyDLL(None).IsInParallelMode() & 1 or plpy.execute('select aos_core._load()')
return GD['pgagentos'](plpy, 'core.check_installation')
$$;
comment on function aos_core.check_installation() is
    'What is installed, reachable or missing, one row a component, with a hint where something is wrong. It holds no secrets and calls no model.';
