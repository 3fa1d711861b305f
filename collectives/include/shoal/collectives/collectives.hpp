// All collectives in one include.
#pragma once

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/all_to_all.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/collectives/bucketed_all_reduce.hpp>
#include <shoal/collectives/nonblocking.hpp>
#include <shoal/collectives/point_to_point.hpp>
#include <shoal/collectives/redistribute.hpp>
#include <shoal/collectives/reduce_scatter.hpp>
