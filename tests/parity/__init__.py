"""The same steps on our serving contracts and on the real ones, compared one by one."""
