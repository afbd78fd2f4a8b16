extern int redis_model_none; int redis_model_none;
