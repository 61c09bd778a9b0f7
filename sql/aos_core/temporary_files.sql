create function aos_core._limit_temporary_files(megabytes integer) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Only ever to less; -1 is no limit.
    if pg_size_bytes(current_setting('temp_file_limit')) not between 0 and _limit_temporary_files.megabytes * 1048576::bigint then
        perform set_config('temp_file_limit', _limit_temporary_files.megabytes || 'MB', true);
    end if;
end
$$;
comment on function aos_core._limit_temporary_files(integer) is
    'Lowers temp_file_limit for the rest of the subtransaction. Only superusers set it, so this function is theirs.';
