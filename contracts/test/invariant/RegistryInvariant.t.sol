// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {DeviceRegistry} from "../../src/DeviceRegistry.sol";
import {Permit} from "../../src/Permit.sol";
import {Board, Boards} from "../base/Boards.sol";
import {vm, within} from "../base/Vm.sol";

/// @notice Three people, six boards, and a plain model of what the registry should say about them.
contract People {
    using Boards for Board;

    uint256 public constant BOARDS = 6;

    DeviceRegistry public immutable registry;
    Board[BOARDS] private boards;
    address[3] private people = [address(0xa11ce), address(0xb0b), address(0xca401)];

    // The model
    mapping(uint256 id => address) public ownerOf;
    mapping(uint256 id => uint256) public from;
    mapping(uint256 id => uint256) public until;

    constructor(DeviceRegistry registry_) {
        registry = registry_;
        for (uint256 i = 0; i < BOARDS; ++i) {
            boards[i] = Boards.make(i);
        }
    }

    function idOf(uint256 i) external view returns (uint256) {
        return boards[i].id;
    }

    function pass(uint256 time) external {
        vm.warp(block.timestamp + within(time, 0, 1 days));
    }

    function register(uint256 which, uint256 person) external {
        Board memory board = boards[which % BOARDS];
        address owner = people[person % 3];
        try registry.register(board.permit(address(registry), owner)) {
            require(from[board.id] == 0, "registered twice");
            (ownerOf[board.id], from[board.id]) = (owner, block.timestamp);
        } catch {
            require(from[board.id] != 0, "good permit refused");
        }
    }

    function revoke(uint256 which, uint256 person) external {
        uint256 id = boards[which % BOARDS].id;
        address caller = people[person % 3];
        bool may = ownerOf[id] == caller && until[id] == 0;
        vm.prank(caller);
        try registry.revoke(id) {
            require(may, "revoked without right");
            until[id] = block.timestamp;
        } catch {
            require(!may, "owner kept from revoking");
        }
    }

    function succeed(uint256 which, uint256 next, uint256 person) external {
        uint256 id = boards[which % BOARDS].id;
        Board memory board = boards[next % BOARDS];
        address caller = people[person % 3];
        bool may = ownerOf[id] == caller && until[id] == 0 && board.id != id
            && (from[board.id] == 0 || (ownerOf[board.id] == caller && until[board.id] == 0));
        Permit memory permit = board.permit(address(registry), caller);
        vm.prank(caller);
        try registry.succeed(id, permit) {
            require(may, "succeeded without right");
            until[id] = block.timestamp;
            if (from[board.id] == 0) (ownerOf[board.id], from[board.id]) = (caller, block.timestamp);
        } catch {
            require(!may, "owner kept from naming a successor");
        }
    }

    function transfer(uint256 which, uint256 person) external {
        uint256 id = boards[which % BOARDS].id;
        address owner = ownerOf[id];
        if (owner == address(0)) return;
        address to = people[person % 3];
        vm.prank(owner);
        registry.transferFrom(owner, to, id);
        ownerOf[id] = to;
    }
}

/// @notice After any sequence of acts, registry and model say the same; no life begins twice, and what ended stays ended.
contract RegistryInvariantTest {
    People private people;
    DeviceRegistry private registry;

    function setUp() external {
        vm.warp(1_800_000_000);
        registry = new DeviceRegistry();
        people = new People(registry);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(people);
    }

    function invariant_registryIsAsTheModel() external view {
        for (uint256 i = 0; i < people.BOARDS(); ++i) {
            uint256 id = people.idOf(i);
            (uint256 from, uint256 until) = (people.from(id), people.until(id));
            (uint48 activeFrom, uint48 activeUntil,, uint256 successor) = registry.devices(id);
            vm.assertEq(activeFrom, from, "from");
            vm.assertEq(activeUntil, until, "until");
            vm.assertTrue(registry.activeAt(id, block.timestamp) == (from != 0 && until == 0), "active now");
            vm.assertFalse(from != 0 && registry.activeAt(id, from - 1), "active before");
            vm.assertFalse(until != 0 && registry.activeAt(id, until), "active after its end");
            if (from != 0) vm.assertEq(registry.ownerOf(id), people.ownerOf(id), "owner");
            if (successor != 0) {
                vm.assertTrue(
                    until != 0 && registry.activeAt(successor, until) || people.until(successor) == until,
                    "successor took over"
                );
            }
        }
    }
}
