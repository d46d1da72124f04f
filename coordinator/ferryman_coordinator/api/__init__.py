"""The gRPC door: who calls, what is mapped, what is answered. Protobuf and gRPC are seen here and nowhere else."""
