! A plain MPI program in Fortran: what libshoal_pmpi.so takes over, called by `use mpi`, or with
! MPI_F08 defined by `use mpi_f08`, with the results worked out here. All numbers are small and whole.
program fortran
#ifdef MPI_F08
  use mpi_f08
#else
  use mpi
#endif
  implicit none
#ifdef MPI_F08
  type(MPI_Comm) :: copy
  type(MPI_Request) :: request
  type(MPI_Status) :: status
#else
  integer :: copy, request, status(MPI_STATUS_SIZE)
#endif
  integer, parameter :: lengths(5) = [1, 7, 300, 5000, 70001]
  integer :: rank, ranks, error, i, n, each, code, kind_of_error, one(3)
  integer, allocatable :: in(:), out(:), counts(:)
  double precision, allocatable :: x(:), y(:)
  complex, allocatable :: c(:), d(:)
  logical :: flags(2), all_flags(2)

  call MPI_Init(error)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, error)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, error)
  call MPI_Comm_dup(MPI_COMM_WORLD, copy, error)
  do each = 1, size(lengths)
    n = lengths(each)
    allocate (in(n * ranks), out(n * ranks), x(n * ranks), y(n * ranks), c(n), d(n), counts(ranks))
    in = [(value(rank, i), i = 1, n * ranks)]
    x = in
    c = cmplx(in(:n), rank)
    counts = n

    out = -1
    call MPI_Allreduce(in, out, n, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, error)
    call check(all(out(:n) == [(total(i), i = 1, n)]), 'MPI_Allreduce')
    out(:n) = in(:n)
    call MPI_Allreduce(MPI_IN_PLACE, out, n, MPI_INTEGER, MPI_SUM, copy, error)
    call check(all(out(:n) == [(total(i), i = 1, n)]), 'MPI_Allreduce in place')
    call MPI_Allreduce(c, d, n, MPI_COMPLEX, MPI_SUM, MPI_COMM_WORLD, error)
    call check(all(d == [(cmplx(total(i), ranks * (ranks - 1) / 2), i = 1, n)]), 'complex')
    y = -1
    call MPI_Reduce_scatter(x, y, counts, MPI_DOUBLE_PRECISION, MPI_SUM, MPI_COMM_WORLD, error)
    call check(all(y(:n) == [(total(rank * n + i), i = 1, n)]), 'MPI_Reduce_scatter')
    y = x
    call MPI_Reduce_scatter_block(MPI_IN_PLACE, y, n, MPI_DOUBLE_PRECISION, MPI_SUM, MPI_COMM_WORLD, error)
    call check(all(y(:n) == [(total(rank * n + i), i = 1, n)]), 'MPI_Reduce_scatter_block')
    out = -1
    call MPI_Allgather(in, n, MPI_INTEGER, out, n, MPI_INTEGER, MPI_COMM_WORLD, error)
    call check(all(out == [(value((i - 1) / n, mod(i - 1, n) + 1), i = 1, n * ranks)]), 'MPI_Allgather')
    out = -1
    call MPI_Alltoall(in, n, MPI_INTEGER, out, n, MPI_INTEGER, MPI_COMM_WORLD, error)
    call check(all(out == [(value((i - 1) / n, rank * n + mod(i - 1, n) + 1), i = 1, n * ranks)]), 'MPI_Alltoall')
    out = in
    call MPI_Bcast(out, n, MPI_INTEGER, ranks - 1, MPI_COMM_WORLD, error)
    call check(all(out(:n) == [(value(ranks - 1, i), i = 1, n)]), 'MPI_Bcast')
    out = -1
    call MPI_Iallreduce(in, out, n, MPI_INTEGER, MPI_SUM, MPI_COMM_WORLD, request, error)
    call MPI_Barrier(copy, error)
    call MPI_Wait(request, status, error)
    call check(all(out(:n) == [(total(i), i = 1, n)]), 'MPI_Iallreduce')
    deallocate (in, out, x, y, c, d, counts)
  end do
  ! What is MPI's.
  flags = [rank == 0, .true.]
  call MPI_Allreduce(flags, all_flags, 2, MPI_LOGICAL, MPI_LAND, MPI_COMM_WORLD, error)
  call check((all_flags(1) .eqv. ranks == 1) .and. all_flags(2), 'MPI_LOGICAL')
  call MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN, error)
  call MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN, error)  ! to which Open MPI tells the first
  one = 1
  call MPI_Allreduce(one, one, 3, MPI_INTEGER, MPI_SUM, copy, code)
  call MPI_Error_class(code, kind_of_error, error)
  call check(kind_of_error == MPI_ERR_BUFFER, 'one buffer for both')
  call MPI_Bcast(one, 3, MPI_INTEGER, ranks, copy, code)
  call MPI_Error_class(code, kind_of_error, error)
  call check(kind_of_error == MPI_ERR_ROOT, 'no such root')
  call MPI_Comm_free(copy, error)
  if (rank == 0) print '(a)', 'all right'
  call MPI_Finalize(error)

contains

  ! What `of` brings as element `i`.
  pure integer function value(of, i)
    integer, intent(in) :: of, i
    value = mod(i * 7 + of * 3, 11)
  end function

  pure integer function total(i)
    integer, intent(in) :: i
    integer :: of
    total = sum([(value(of, i), of = 0, ranks - 1)])
  end function

  subroutine check(good, what)
    logical, intent(in) :: good
    character(*), intent(in) :: what
    if (good) return
    print '(a, i0, 2a)', 'rank ', rank, ': ', what
    call MPI_Abort(MPI_COMM_WORLD, 1, error)
  end subroutine
end program
