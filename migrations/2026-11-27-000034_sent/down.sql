REVOKE UPDATE (claimed, items) ON dunning_run_lines FROM encours_app;
